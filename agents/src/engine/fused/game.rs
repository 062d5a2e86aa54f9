//! The frozen game: which passes answer which question.

use super::actor_rows::{ActorRows, GramSpace};
use super::batch_slice::BatchSlice;
use super::gram::GramRows;
use super::last_hidden::{self, LastHidden};
use super::pass::Pass;
use super::reduce::for_each_span;
use super::soft_value::Stage;
use super::spec::Spec;
use crate::engine::{FrozenGame, Point, Role, SATURATED};
use crate::error::Result;
use crate::flat::Scalar;
use crate::game::{Composite, Game, Player};
use crate::memory::Batch;
use crate::nn::Mlp;
use crate::threads;

/// Work space for one size of batch.
#[derive(Clone, Default)]
pub(super) struct Space<T> {
    pub samples: usize,
    pub slices: Vec<BatchSlice<T>>,
    pub grams: Vec<GramRows<T>>,
    pub has_grams: bool,
    pub actor_rows: Vec<ActorRows<T>>,
    pub gram_spaces: Vec<GramSpace<T>>,
    last_hidden: Vec<LastHidden<T>>,
}

impl<T: Scalar> Space<T> {
    pub fn new(spec: &Spec, samples: usize, threads: usize) -> Self {
        // Slices of equal size, up to rounding.
        let slices = threads.clamp(1, samples.max(1));
        let ranges = (0..slices).map(|i| samples * i / slices..samples * (i + 1) / slices);
        let widest = samples.div_ceil(slices);
        Self {
            samples,
            slices: ranges.clone().map(|range| BatchSlice::new(spec, range)).collect(),
            grams: ranges.map(|range| GramRows::new(spec, range, widest)).collect(),
            has_grams: false,
            actor_rows: vec![ActorRows::default(); slices],
            gram_spaces: vec![GramSpace::default(); slices],
            last_hidden: vec![LastHidden::default(); spec.critics],
        }
    }

    /// Forgets everything that depends on parameters or batch.
    pub fn reset(&mut self) {
        self.slices.iter_mut().for_each(BatchSlice::reset);
        self.last_hidden.iter_mut().for_each(LastHidden::reset);
        self.has_grams = false;
        self.actor_rows.iter_mut().for_each(ActorRows::reset);
    }
}

/// A frozen game in closed form.
pub struct FusedGame<'a, T> {
    pub(super) spec: &'a Spec,
    pub(super) space: &'a mut Space<T>,
    pub(super) point: Point<'a, T, Batch<T>>,
    pub(super) leader: Role,
}

impl<T: Scalar> FusedGame<'_, T> {
    fn role(&self, player: Player) -> Role {
        match player {
            Player::Leader => self.leader,
            Player::Follower => self.leader.opponent(),
        }
    }

    /// `scale / B`
    pub(super) fn over_samples(&self, scale: f64) -> T {
        T::of(scale / self.space.samples as f64)
    }

    /// Runs `f` on every slice, each on a thread of its own.
    pub(super) fn each(
        &mut self,
        f: impl Fn(&mut BatchSlice<T>, &Spec, &Point<'_, T, Batch<T>>) + Sync,
    ) {
        let (spec, point) = (self.spec, &self.point);
        for_each(&mut self.space.slices, &|_, slice| f(slice, spec, point));
    }

    /// Computes `V(s)` up to `stage`. All slices are at the same stage; if it is reached, no thread is woken.
    pub(super) fn reach_now(&mut self, stage: Stage) {
        if self.space.slices.iter().any(|slice| slice.now.stage() < stage) {
            self.each(|slice, spec, point| slice.reach_now(stage, spec, point));
        }
    }

    /// Computes `q_bi - y_i`.
    pub(super) fn reach_residuals(&mut self) {
        if !self.space.slices.iter().all(BatchSlice::has_residuals) {
            self.each(BatchSlice::reach_residuals);
        }
    }

    /// Sums the gradient over the rows that were scaled in `pass(slice, block)`, a pass of `shape`.
    pub(super) fn sum_gradient(
        &self,
        shape: &Mlp,
        pass: impl Fn(&BatchSlice<T>, usize) -> &Pass<T> + Sync,
        out: &mut [T],
    ) {
        let slices = &self.space.slices;
        for_each_span(slices.len(), &shape.layers, out, &|mut span| {
            let block = span.block;
            span.gradient(slices.iter().map(|slice| pass(slice, block)));
        });
    }

    /// Sums the tangent of that gradient; `inputs`: whether the inputs have tangents.
    pub(super) fn sum_gradient_tangent(
        &self,
        shape: &Mlp,
        pass: impl Fn(&BatchSlice<T>, usize) -> &Pass<T> + Sync,
        inputs: bool,
        out: &mut [T],
    ) {
        let slices = &self.space.slices;
        for_each_span(slices.len(), &shape.layers, out, &|mut span| {
            let block = span.block;
            span.gradient_tangent(slices.iter().map(|slice| pass(slice, block)), inputs);
        });
    }

    /// `D_theta sum_bi u_bi y_i` for `u_bi = u(slice, b, i)`; zero if targets do not depend on theta.
    pub(super) fn targets_vjp(
        &mut self,
        u: impl Fn(&BatchSlice<T>, usize, usize) -> T + Sync,
        out: &mut [T],
    ) {
        if !self.spec.current_policy {
            out.fill(T::zero());
            return;
        }
        self.each(|slice, spec, point| {
            slice.reach_next(Stage::ActorGrad, spec, point);
            slice.scale_rows_next(spec, point, &u);
        });
        self.sum_gradient(&self.spec.actor, |slice, _| &slice.next.actor, out);
    }

    /// `D_ww f_critic v`
    fn critic_hvp(&mut self, v: &[T], out: &mut [T]) {
        let scale = self.over_samples(2.0);
        let (spec, point) = (self.spec, &self.point);
        let Space { slices, last_hidden, .. } = &mut *self.space;
        let hidden = last_hidden::index(&spec.critic);
        let nets = |b| [spec.critic_net(b, point.critic), spec.critic_net(b, v)];
        for (b, layer) in last_hidden.iter_mut().enumerate() {
            if let Some(h) = hidden {
                layer.mix(h, nets(b));
            }
        }
        for_each(slices, &|_, slice| slice.taken_hvp(spec, point, scale, v, last_hidden));
        let (slices, threads) = (&*slices, slices.len());
        for (b, layer) in last_hidden.iter_mut().enumerate() {
            if let Some(h) = hidden {
                layer.reach_constant(
                    threads,
                    &spec.critic.layers[h],
                    slices.iter().map(|s| &s.last_hidden[b]),
                );
            }
        }
        for_each_span(threads, &spec.critic.layers, out, &|mut span| {
            let b = span.block;
            match hidden {
                Some(h) if h == span.l => {
                    let rows = slices.iter().map(|s| &s.last_hidden[b]);
                    last_hidden[b].gradient_tangent(nets(b), rows, span);
                }
                _ => span.gradient_tangent(slices.iter().map(|s| &s.taken[b]), false),
            }
        });
    }

    /// `D_theta,theta f_actor v`
    fn actor_hvp(&mut self, v: &[T], out: &mut [T]) {
        let scale = self.over_samples(-1.0);
        self.each(|slice, spec, point| slice.now_hvp(spec, point, scale, v));
        self.sum_gradient_tangent(&self.spec.actor, |slice, _| &slice.now.actor, false, out);
    }

    fn hvp(&mut self, role: Role, v: &[T], out: &mut [T]) {
        match role {
            Role::Actor => self.actor_hvp(v, out),
            Role::Critic => self.critic_hvp(v, out),
        }
    }
}

impl<T: Scalar> Game<T> for FusedGame<'_, T> {
    fn dim(&self, player: Player) -> usize {
        match self.role(player) {
            Role::Actor => self.point.actor.len(),
            Role::Critic => self.point.critic.len(),
        }
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        let (minus, two) = (self.over_samples(-1.0), self.over_samples(2.0));
        match (self.role(of), self.role(wrt)) {
            // -(1/B) sum_i D_theta V(s_i)                                             (7)
            (Role::Actor, Role::Actor) => {
                self.each(|slice, spec, point| {
                    slice.reach_now(Stage::ActorGrad, spec, point);
                    slice.scale_rows_now(minus);
                });
                self.sum_gradient(&self.spec.actor, |slice, _| &slice.now.actor, out);
            }
            // -(1/B) sum_i D_w min_b Q_b(s_i, pi(s_i))
            (Role::Actor, Role::Critic) => {
                self.each(|slice, spec, point| {
                    slice.reach_now(Stage::CriticGrad, spec, point);
                    slice.scale_rows_now_critics(minus);
                });
                self.sum_gradient(&self.spec.critic, |slice, b| &slice.now.critics[b], out);
            }
            // (2/B) sum_bi (q_bi - y_i) D_w q_bi                                       (8)
            (Role::Critic, Role::Critic) => {
                self.each(|slice, spec, point| {
                    slice.reach_taken(spec, point);
                    slice.scale_rows_taken(|slice, b, i| two * slice.residual(b, i));
                });
                self.sum_gradient(&self.spec.critic, |slice, b| &slice.taken[b], out);
            }
            // -(2/B) sum_bi (q_bi - y_i) D_theta y_i
            (Role::Critic, Role::Actor) => {
                self.reach_residuals();
                self.targets_vjp(|slice, b, i| -two * slice.residual(b, i), out);
            }
        }
        Ok(())
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.hvp(self.role(Player::Follower), v, out);
        Ok(())
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.hvp(self.role(Player::Leader), v, out);
        Ok(())
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            // D_theta (D_w f_critic . x) = -(2/B) sum_bi (J x)_bi D_theta y_i
            Role::Actor => {
                let two = self.over_samples(2.0);
                self.each(|slice, spec, point| slice.jacobian(spec, point, x));
                self.targets_vjp(|slice, b, i| -two * slice.taken[b].output_t()[i], out);
            }
            // D_w (D_theta f_actor . x): the tangent of D_w f_actor along x
            Role::Critic => {
                let minus = self.over_samples(-1.0);
                self.each(|slice, spec, point| slice.now_critics_tangent(spec, point, minus, x));
                let shape = &self.spec.critic;
                self.sum_gradient_tangent(shape, |slice, b| &slice.now.critics[b], true, out);
            }
        }
        Ok(())
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        let samples = self.space.samples as f64;
        match self.role(of) {
            Role::Actor => {
                self.reach_now(Stage::Value);
                let values = self.space.slices.iter().flat_map(|s| &s.now.value);
                Ok(-values.map(|v| v.as_f64()).sum::<f64>() / samples)
            }
            Role::Critic => {
                self.reach_residuals();
                let residuals = self.space.slices.iter().flat_map(BatchSlice::residuals);
                Ok(residuals.map(|r| r.as_f64().powi(2)).sum::<f64>() / samples)
            }
        }
    }

    fn composite(&mut self) -> Option<&mut dyn Composite<T>> {
        // D_aa Q is zero almost everywhere then, so that h'' is diagonal where the actor follows.
        let outputs = self.leader == Role::Actor || self.spec.critic.is_piecewise_linear();
        if outputs { Some(self) } else { None }
    }
}

impl<T: Scalar> FrozenGame<T> for FusedGame<'_, T> {
    fn policy_saturation(&mut self) -> Result<Option<f64>> {
        self.reach_now(Stage::Actions);
        let actions = self.space.slices.iter().flat_map(|s| &s.now.policy.actions);
        let saturated = actions.filter(|a| a.as_f64().abs() > SATURATED).count();
        Ok(Some(saturated as f64 / (self.space.samples * self.spec.action_dim()) as f64))
    }

    fn entropy(&mut self) -> Result<Option<f64>> {
        if !self.spec.stochastic {
            return Ok(None);
        }
        self.reach_now(Stage::Actions);
        let log_probs = self.space.slices.iter().flat_map(|s| &s.now.policy.log_prob);
        Ok(Some(-log_probs.map(|l| l.as_f64()).sum::<f64>() / self.space.samples as f64))
    }
}

/// Runs `f(i, item)` for every item, each on a thread of its own.
pub(super) fn for_each<I: Send>(items: &mut [I], f: &(impl Fn(usize, &mut I) + Sync)) {
    fn split<I: Send>(first: usize, items: &mut [I], f: &(impl Fn(usize, &mut I) + Sync)) {
        match items {
            [] => {}
            [item] => f(first, item),
            items => {
                let middle = items.len() / 2;
                let (one, two) = items.split_at_mut(middle);
                threads::join(2, || split(first, one, f), || split(first + middle, two, f));
            }
        }
    }
    split(0, items, f);
}
