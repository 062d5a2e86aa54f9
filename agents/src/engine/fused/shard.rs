//! One range of a batch's samples, with everything that does not mix samples.

use super::Spec;
use super::pass::Pass;
use super::top::{self, Top, TopRows};
use super::valuation::{Inputs, Stage, Valuation, join};
use crate::engine::Point;
use crate::flat::Scalar;
use std::ops::Range;

/// Work space for the samples in `samples`.
#[derive(Clone, Default)]
pub(super) struct Shard<T> {
    pub samples: Range<usize>,
    /// `V(s)` with current critics: `f_actor = -(1/B) sum_i V(s_i)`.
    pub now: Valuation<T>,
    /// `V_0(s')` with target critics: `y_i = r_i + gamma (1 - d_i) V_0(s'_i)`.
    pub next: Valuation<T>,
    /// The critics at the actions taken, `q_bi = Q_b(s_i, a_i)`.
    pub taken: Vec<Pass<T>>,
    /// `q_bi - y_i`, block by block.
    residuals: Vec<T>,
    has: Has,
    /// The critics' top layers, for Hessian-vector products.
    pub tops: Vec<TopRows<T>>,
    /// Weights of rows and their tangents.
    u: Vec<T>,
    u_t: Vec<T>,
}

/// Which parts are there.
#[derive(Clone, Copy, Default)]
struct Has {
    residuals: bool,
    derivatives: bool,
}

impl<T: Scalar> Shard<T> {
    pub fn new(spec: &Spec, samples: Range<usize>) -> Self {
        let count = samples.len();
        Self {
            now: Valuation::new(spec, count),
            next: Valuation::new(spec, count),
            taken: vec![Pass::new(&spec.critic, count); spec.critics],
            residuals: vec![T::zero(); spec.critics * count],
            has: Has::default(),
            tops: vec![TopRows::default(); spec.critics],
            u: vec![T::zero(); count],
            u_t: vec![T::zero(); count],
            samples,
        }
    }

    /// Forgets everything: parameters or batch have changed.
    pub fn reset(&mut self) {
        self.now.reset();
        self.next.reset();
        self.has = Has::default();
    }

    /// What `V(s)` is computed from.
    pub fn now_inputs<'a>(&self, spec: &'a Spec, point: &Point<'a, T>) -> Inputs<'a, T> {
        Inputs {
            spec,
            actor: point.actor,
            critics: point.critic,
            obs: part(&point.batch.obs, &self.samples, spec.obs_dim()),
            noise: self.noise(spec, &point.batch.noise),
            eta: if spec.stochastic { T::of(point.ent_coef) } else { T::zero() },
        }
    }

    /// What `V_0(s')` is computed from.
    pub fn next_inputs<'a>(&self, spec: &'a Spec, point: &Point<'a, T>) -> Inputs<'a, T> {
        Inputs {
            spec,
            actor: if spec.current_policy { point.actor } else { point.target_actor },
            critics: point.target_critic,
            obs: part(&point.batch.next_obs, &self.samples, spec.obs_dim()),
            noise: self.noise(spec, &point.batch.next_noise),
            eta: if spec.stochastic { T::of(point.ent_coef) } else { T::zero() },
        }
    }

    fn noise<'a>(&self, spec: &Spec, noise: &'a [T]) -> &'a [T] {
        if spec.stochastic { part(noise, &self.samples, spec.action_dim()) } else { &[] }
    }

    /// `V(s)` up to `stage`.
    pub fn reach_now(&mut self, stage: Stage, spec: &Spec, point: &Point<'_, T>) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(stage, &inputs);
    }

    /// `V_0(s')` up to `stage`.
    pub fn reach_next(&mut self, stage: Stage, spec: &Spec, point: &Point<'_, T>) {
        let inputs = self.next_inputs(spec, point);
        self.next.reach(stage, &inputs);
    }

    /// `q_bi - y_i`
    pub fn reach_residuals(&mut self, spec: &Spec, point: &Point<'_, T>) {
        if self.has.residuals {
            return;
        }
        self.reach_next(Stage::Valued, spec, point);
        let obs = part(&point.batch.obs, &self.samples, spec.obs_dim());
        let actions = part(&point.batch.actions, &self.samples, spec.action_dim());
        let rewards = part(&point.batch.rewards, &self.samples, 1);
        let dones = part(&point.batch.dones, &self.samples, 1);
        let (gamma, count) = (T::of(spec.gamma), self.samples.len());
        let residuals = self.residuals.chunks_exact_mut(count);
        for ((b, taken), residuals) in self.taken.iter_mut().enumerate().zip(residuals) {
            join(spec, obs, actions, &mut taken.a[0]);
            taken.forward(spec.critic_net(b, point.critic));

            // y = r + gamma (1 - d) V_0(s')
            let targets = rewards.iter().zip(dones).zip(&self.next.value);
            let targets = targets.map(|((&r, &d), &v)| r + gamma * (T::one() - d) * v);
            for ((residual, &q), y) in residuals.iter_mut().zip(taken.output()).zip(targets) {
                *residual = q - y;
            }
        }
        self.has.residuals = true;
    }

    /// Whether [`Shard::reach_residuals`] has been called.
    pub fn has_residuals(&self) -> bool {
        self.has.residuals
    }

    /// Whether [`Shard::reach_taken`] has been called.
    pub fn has_derivatives(&self) -> bool {
        self.has.derivatives
    }

    /// Derivatives of `q_bi`, and [`Shard::reach_residuals`].
    pub fn reach_taken(&mut self, spec: &Spec, point: &Point<'_, T>) {
        self.reach_residuals(spec, point);
        if !self.has.derivatives {
            for (b, taken) in self.taken.iter_mut().enumerate() {
                taken.differentiate_output(spec.critic_net(b, point.critic));
            }
            self.has.derivatives = true;
        }
    }

    /// Weighs `D_w q_bi` by `u(shard, b, i)`.
    pub fn weigh_taken(&mut self, u: impl Fn(&Self, usize, usize) -> T) {
        for b in 0..self.taken.len() {
            for i in 0..self.u.len() {
                self.u[i] = u(self, b, i);
            }
            self.taken[b].weigh(&self.u);
        }
    }

    /// Weighs `D_theta V(s_i)` by `scale`.
    pub fn weigh_now(&mut self, scale: T) {
        self.u.fill(scale);
        self.now.actor.weigh(&self.u);
    }

    /// Weighs `D_w Q_b(s_i, pi(s_i))` by `scale`, in the rows where `Q_b` is the least.
    pub fn weigh_now_critics(&mut self, scale: T) {
        for b in 0..self.taken.len() {
            let u = &mut self.u[..self.now.least_rows(b)];
            u.fill(scale);
            self.now.critics[b].weigh(u);
        }
    }

    /// Weighs `D_theta V_0(s'_i)` so as to sum `u_bi D_theta y_i` for `u(shard, b, i)`.
    pub fn weigh_next(
        &mut self,
        spec: &Spec,
        point: &Point<'_, T>,
        u: impl Fn(&Self, usize, usize) -> T,
    ) {
        // D_theta y = gamma (1 - d) D_theta V_0(s')
        let gamma = T::of(spec.gamma);
        let dones = part(&point.batch.dones, &self.samples, 1);
        for (i, &done) in dones.iter().enumerate() {
            let sum: T = (0..spec.critics).map(|b| u(self, b, i)).sum();
            self.u[i] = sum * gamma * (T::one() - done);
        }
        self.next.actor.weigh(&self.u);
    }

    /// Every `q_bi - y_i`.
    pub fn residuals(&self) -> &[T] {
        &self.residuals
    }

    /// `q_bi - y_i`
    pub fn residual(&self, block: usize, i: usize) -> T {
        self.residuals[block * self.samples.len() + i]
    }

    /// `J v` of these samples, in [`Pass::output_t`] of each of [`Shard::taken`].
    pub fn jacobian(&mut self, spec: &Spec, point: &Point<'_, T>, v: &[T]) {
        self.reach_residuals(spec, point);
        for (b, taken) in self.taken.iter_mut().enumerate() {
            taken.tangent(spec.critic_net(b, point.critic), Some(spec.critic_net(b, v)), false);
        }
    }

    /// The tangent of the critics' gradient, weights `scale (q_bi - y_i)`, along `v` in the critics'
    /// parameters; with the mixed weights of each critic's top layer, where critics have one.
    pub fn taken_hvp(
        &mut self,
        spec: &Spec,
        point: &Point<'_, T>,
        scale: T,
        v: &[T],
        tops: &[Top<T>],
    ) {
        self.reach_taken(spec, point);
        self.jacobian(spec, point, v);
        for (b, taken) in self.taken.iter_mut().enumerate() {
            // u = (2/B) (q - y);  u^ = (2/B) q^
            let residuals = &self.residuals[b * self.u.len()..];
            self.u.iter_mut().zip(residuals).for_each(|(u, &r)| *u = scale * r);
            self.u_t.iter_mut().zip(taken.output_t()).for_each(|(u, &q)| *u = scale * q);

            let (net, v) = (spec.critic_net(b, point.critic), spec.critic_net(b, v));
            match top::index(&spec.critic) {
                None => taken.tangent_backward(net, Some(v), false),
                Some(h) => {
                    let rows = &mut self.tops[b];
                    rows.set_mask(h, taken);
                    rows.weigh(h, taken, &self.u, &self.u_t);
                    taken.tangent_backward_from_top(net, v, h, [&rows.mask, &tops[b].mixed]);
                }
            }
            taken.weigh_tangent(&self.u, Some(&self.u_t));
        }
    }

    /// The tangent of [`Shard::weigh_now`] along `v` in the actor's parameters.
    pub fn now_hvp(&mut self, spec: &Spec, point: &Point<'_, T>, scale: T, v: &[T]) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(Stage::Differentiated, &inputs);
        self.now.tangent(&inputs, v);
        self.now.tangent_backward(&inputs, v);
        self.u.fill(scale);
        self.now.actor.weigh_tangent(&self.u, None);
    }

    /// The tangent of [`Shard::weigh_now_critics`] along `x` in the actor's parameters.
    pub fn now_critics_tangent(&mut self, spec: &Spec, point: &Point<'_, T>, scale: T, x: &[T]) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(Stage::Criticised, &inputs);
        self.now.tangent(&inputs, x);
        for b in 0..self.taken.len() {
            let u = &mut self.u[..self.now.least_rows(b)];
            u.fill(scale);
            self.now.critics[b].weigh_tangent(u, None);
        }
    }
}

/// Rows `samples` of `data`, which has rows of length `width`.
fn part<'a, T>(data: &'a [T], samples: &Range<usize>, width: usize) -> &'a [T] {
    &data[samples.start * width..samples.end * width]
}
