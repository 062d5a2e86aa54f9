//! The actor as a function `-(1/B) sum_i V(s_i; x_i)` of its actions before `tanh`, `x` (`B x m`), for critics that are
//! piecewise linear in the action:
//!
//! ```text
//! h''     = (1/B) max(0, 2 (1 - a^2) (eta + a D_a Q))                          diagonal
//! J v     = x^ along v
//! J' u    = sum_i D_theta x_i' u_i                                             one pass back
//! D_w (D_x h . u) = -(1/B) D_w sum_i D_a Q_w(s_i, a_i)' ((1 - a_i^2) o u_i)    a tangent and a pass back of the critic
//! ```

use super::actor_rows::{ActorRows, GramSpace};
use super::game::{FusedGame, Space, for_each};
use super::pass::Net;
use super::soft_value::Stage;
use crate::flat::Scalar;
use crate::threads;

impl<T: Scalar> FusedGame<'_, T> {
    /// `u <- h'' u`
    pub(super) fn times_actor_hessian(&mut self, u: &mut [T]) {
        self.reach_now(Stage::ActorGrad);
        let (mean, m) = (self.over_samples(1.0), self.spec.action_dim());
        for slice in &self.space.slices {
            let eta = slice.now_inputs(self.spec, &self.point).eta;
            let own = &mut u[slice.samples.start * m..slice.samples.end * m];
            for (i, u) in own.iter_mut().enumerate() {
                *u *= mean * slice.now.outer_hessian(eta, i);
            }
        }
    }

    /// `K_rr` of the rows with `h'' > 0`, and zero elsewhere.
    pub(super) fn actor_gram_diagonal(&mut self, out: &mut [T]) {
        self.reach_now(Stage::ActorGrad);
        let (spec, point, m) = (self.spec, &self.point, self.spec.action_dim());
        let Space { slices, actor_rows, .. } = &mut *self.space;
        let slices = &*slices;
        for_each(actor_rows, &|own, rows: &mut ActorRows<T>| {
            let slice = &slices[own];
            let eta = slice.now_inputs(spec, point).eta;
            let upwards = |row: &usize| slice.now.outer_hessian(eta, *row) > T::zero();
            rows.compute(
                spec,
                point.actor,
                &slice.now,
                (0..slice.samples.len() * m).filter(upwards),
            );
            rows.reach_diagonal(spec, &slice.now);
        });
        out.fill(T::zero());
        for (slice, rows) in slices.iter().zip(&*actor_rows) {
            rows.copy_diagonal(&mut out[slice.samples.start * m..slice.samples.end * m]);
        }
    }

    /// The rows and columns `kept` of `K`, on and above the diagonal.
    pub(super) fn actor_gram(&mut self, kept: &[usize], k: &mut [T]) {
        self.reach_now(Stage::Actions);
        let (spec, point, m) = (self.spec, &self.point, self.spec.action_dim());
        let Space { slices, actor_rows, gram_spaces, .. } = &mut *self.space;
        let slices = &*slices;
        for_each(actor_rows, &|own, rows: &mut ActorRows<T>| {
            let slice = &slices[own];
            let first = kept.partition_point(|&row| row < slice.samples.start * m);
            let end = kept.partition_point(|&row| row < slice.samples.end * m);
            let own = kept[first..end].iter().map(|row| row - slice.samples.start * m);
            rows.keep(spec, point.actor, &slice.now, own);
        });
        let rows = &*actor_rows;
        split_rows((rows, gram_spaces), 0, k, kept.len(), &|own, space, k| {
            ActorRows::gram(spec, slices, rows, own, space, k);
        });
    }

    /// `J v`
    pub(super) fn actor_jacobian(&mut self, v: &[T], out: &mut [T]) {
        self.each(|slice, spec, point| {
            slice.reach_now(Stage::Actions, spec, point);
            let inputs = slice.now_inputs(spec, point);
            slice.now.actor.tangent(
                inputs.actor(),
                Some(Net { shape: &spec.actor, params: v }),
                false,
            );
        });
        let m = self.spec.action_dim();
        for slice in &self.space.slices {
            let own = &mut out[slice.samples.start * m..slice.samples.end * m];
            slice.now.policy.before_squashing(slice.now.actor.output_t(), own);
        }
    }

    /// `J' u`
    pub(super) fn actor_jacobian_transpose(&mut self, u: &[T], out: &mut [T]) {
        let m = self.spec.action_dim();
        self.each(|slice, spec, point| {
            slice.reach_now(Stage::Actions, spec, point);
            let own = &u[slice.samples.start * m..slice.samples.end * m];
            slice.scale_rows_of_actions(spec, point, own);
        });
        self.sum_gradient(&self.spec.actor, |slice, _| &slice.now.actor, out);
    }

    /// `D_w (D_x h . u)`
    pub(super) fn actor_cross(&mut self, u: &[T], out: &mut [T]) {
        let (minus, m) = (self.over_samples(-1.0), self.spec.action_dim());
        self.each(|slice, spec, point| {
            let own = &u[slice.samples.start * m..slice.samples.end * m];
            slice.now_critics_tangent_of_actions(spec, point, minus, own);
        });
        self.sum_gradient_tangent(&self.spec.critic, |slice, b| &slice.now.critics[b], true, out);
    }
}

/// Runs `f(i, rows of k)` for every slice, each on a thread of its own; `k` has rows of length `n`, those of `slices` in order.
fn split_rows<T: Scalar>(
    (slices, spaces): (&[ActorRows<T>], &mut [GramSpace<T>]),
    first: usize,
    k: &mut [T],
    n: usize,
    f: &(impl Fn(usize, &mut GramSpace<T>, &mut [T]) + Sync),
) {
    match (slices, spaces) {
        ([_], [space]) => f(first, space, k),
        (slices, spaces) if slices.len() > 1 => {
            let half = slices.len() / 2;
            let (one, two) = slices.split_at(half);
            let (space_one, space_two) = spaces.split_at_mut(half);
            let rows: usize = one.iter().map(ActorRows::len).sum();
            let (k_one, k_two) = k.split_at_mut(rows * n);
            threads::join(
                2,
                || split_rows((one, space_one), first, k_one, n, f),
                || split_rows((two, space_two), first + half, k_two, n, f),
            );
        }
        _ => {}
    }
}
