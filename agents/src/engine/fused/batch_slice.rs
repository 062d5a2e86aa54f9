//! One range of a batch's samples, with everything that is computed per sample.

use super::last_hidden::{self, LastHidden, LastHiddenRows};
use super::pass::Pass;
use super::soft_value::{Inputs, SoftValue, Stage, concat};
use super::spec::Spec;
use crate::engine::Point;
use crate::flat::Scalar;
use crate::memory::Batch;
use std::ops::Range;

/// Work space for the samples in `samples`.
#[derive(Clone, Default)]
pub(super) struct BatchSlice<T> {
    pub samples: Range<usize>,
    /// `V(s)` with current critics: `f_actor = -(1/B) sum_i V(s_i)`.
    pub now: SoftValue<T>,
    /// `V_0(s')` with target critics: `y_i = r_i + gamma (1 - d_i) V_0(s'_i)`.
    pub next: SoftValue<T>,
    /// The critics at the batch's own actions, `q_bi = Q_b(s_i, a_i)`.
    pub taken: Vec<Pass<T>>,
    /// `q_bi - y_i`, block by block.
    residuals: Vec<T>,
    has: Has,
    /// The critics' last hidden layers, for Hessian-vector products.
    pub last_hidden: Vec<LastHiddenRows<T>>,
    /// Scales of the rows and their tangents.
    u: Vec<T>,
    u_t: Vec<T>,
    /// Takes the place of the actor's `d` for another scalar.
    spare: Vec<Vec<T>>,
}

/// Which parts are computed.
#[derive(Clone, Copy, Default)]
struct Has {
    residuals: bool,
    derivatives: bool,
}

impl<T: Scalar> BatchSlice<T> {
    pub fn new(spec: &Spec, samples: Range<usize>) -> Self {
        let count = samples.len();
        Self {
            now: SoftValue::new(spec, count),
            next: SoftValue::new(spec, count),
            taken: vec![Pass::new(&spec.critic, count); spec.critics],
            residuals: vec![T::zero(); spec.critics * count],
            has: Has::default(),
            last_hidden: vec![LastHiddenRows::default(); spec.critics],
            u: vec![T::zero(); count],
            u_t: vec![T::zero(); count],
            spare: Vec::new(),
            samples,
        }
    }

    /// Forgets everything; call it when parameters or batch change.
    pub fn reset(&mut self) {
        self.now.reset();
        self.next.reset();
        self.has = Has::default();
    }

    /// The inputs of `V(s)`.
    pub fn now_inputs<'a>(&self, spec: &'a Spec, point: &Point<'a, T, Batch<T>>) -> Inputs<'a, T> {
        Inputs {
            spec,
            actor: point.actor,
            critics: point.critic,
            obs: part(&point.batch.obs, &self.samples, spec.obs_dim()),
            noise: self.noise(spec.stochastic, spec, &point.batch.noise),
            eta: if spec.stochastic { T::of(point.ent_coef) } else { T::zero() },
            counted: if spec.blur.is_some() { 1 } else { spec.critics },
            blur: None,
        }
    }

    /// The inputs of `V_0(s')`.
    pub fn next_inputs<'a>(&self, spec: &'a Spec, point: &Point<'a, T, Batch<T>>) -> Inputs<'a, T> {
        Inputs {
            spec,
            actor: if spec.current_policy { point.actor } else { point.target_actor },
            critics: point.target_critic,
            obs: part(&point.batch.next_obs, &self.samples, spec.obs_dim()),
            noise: self.noise(
                spec.stochastic || spec.blur.is_some(),
                spec,
                &point.batch.next_noise,
            ),
            eta: if spec.stochastic { T::of(point.ent_coef) } else { T::zero() },
            counted: spec.critics,
            blur: spec.blur.map(|blur| blur.map(T::of)),
        }
    }

    fn noise<'a>(&self, needed: bool, spec: &Spec, noise: &'a [T]) -> &'a [T] {
        if needed { part(noise, &self.samples, spec.action_dim()) } else { &[] }
    }

    /// Computes `V(s)` up to `stage`.
    pub fn reach_now(&mut self, stage: Stage, spec: &Spec, point: &Point<'_, T, Batch<T>>) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(stage, &inputs);
    }

    /// Computes `V_0(s')` up to `stage`.
    pub fn reach_next(&mut self, stage: Stage, spec: &Spec, point: &Point<'_, T, Batch<T>>) {
        let inputs = self.next_inputs(spec, point);
        self.next.reach(stage, &inputs);
    }

    /// Computes `q_bi - y_i`.
    pub fn reach_residuals(&mut self, spec: &Spec, point: &Point<'_, T, Batch<T>>) {
        if self.has.residuals {
            return;
        }
        self.reach_next(Stage::Value, spec, point);
        let obs = part(&point.batch.obs, &self.samples, spec.obs_dim());
        let actions = part(&point.batch.actions, &self.samples, spec.action_dim());
        let rewards = part(&point.batch.rewards, &self.samples, 1);
        let dones = part(&point.batch.dones, &self.samples, 1);
        let (gamma, count) = (T::of(spec.gamma), self.samples.len());
        let residuals = self.residuals.chunks_exact_mut(count);
        for ((b, taken), residuals) in self.taken.iter_mut().enumerate().zip(residuals) {
            concat(spec, obs, actions, &mut taken.a[0]);
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

    /// Whether [`BatchSlice::reach_residuals`] has been called.
    pub fn has_residuals(&self) -> bool {
        self.has.residuals
    }

    /// Whether [`BatchSlice::reach_taken`] has been called.
    pub fn has_derivatives(&self) -> bool {
        self.has.derivatives
    }

    /// Computes the derivatives of `q_bi`, after [`BatchSlice::reach_residuals`].
    pub fn reach_taken(&mut self, spec: &Spec, point: &Point<'_, T, Batch<T>>) {
        self.reach_residuals(spec, point);
        if !self.has.derivatives {
            for (b, taken) in self.taken.iter_mut().enumerate() {
                taken.differentiate_output(spec.critic_net(b, point.critic));
            }
            self.has.derivatives = true;
        }
    }

    /// Scales row `i` of `D_w q_b` by `u(slice, b, i)`.
    pub fn scale_rows_taken(&mut self, u: impl Fn(&Self, usize, usize) -> T) {
        for b in 0..self.taken.len() {
            for i in 0..self.u.len() {
                self.u[i] = u(self, b, i);
            }
            self.taken[b].scale_rows(&self.u);
        }
    }

    /// Scales every row of `D_theta V(s)` by `scale`.
    pub fn scale_rows_now(&mut self, scale: T) {
        self.u.fill(scale);
        self.now.actor.scale_rows(&self.u);
    }

    /// Scales the rows of `D_w Q_b(s, pi(s))` where `Q_b` is the minimum by `scale`.
    pub fn scale_rows_now_critics(&mut self, scale: T) {
        for b in 0..self.taken.len() {
            let u = &mut self.u[..self.now.least_rows(b)];
            u.fill(scale);
            self.now.critics[b].scale_rows(u);
        }
    }

    /// Scales the rows of `D_theta V_0(s')` so that their sum is `sum_bi u_bi D_theta y_i`, `u_bi = u(slice, b, i)`.
    pub fn scale_rows_next(
        &mut self,
        spec: &Spec,
        point: &Point<'_, T, Batch<T>>,
        u: impl Fn(&Self, usize, usize) -> T,
    ) {
        // D_theta y = gamma (1 - d) D_theta V_0(s')
        let gamma = T::of(spec.gamma);
        let dones = part(&point.batch.dones, &self.samples, 1);
        for (i, &done) in dones.iter().enumerate() {
            let sum: T = (0..spec.critics).map(|b| u(self, b, i)).sum();
            self.u[i] = sum * gamma * (T::one() - done);
        }
        self.next.actor.scale_rows(&self.u);
    }

    /// All `q_bi - y_i`, block by block.
    pub fn residuals(&self) -> &[T] {
        &self.residuals
    }

    /// `q_bi - y_i`
    pub fn residual(&self, block: usize, i: usize) -> T {
        self.residuals[block * self.samples.len() + i]
    }

    /// Computes `J v` of these samples; it is [`Pass::output_t`] of [`BatchSlice::taken`].
    pub fn jacobian(&mut self, spec: &Spec, point: &Point<'_, T, Batch<T>>, v: &[T]) {
        self.reach_residuals(spec, point);
        for (b, taken) in self.taken.iter_mut().enumerate() {
            taken.tangent(spec.critic_net(b, point.critic), Some(spec.critic_net(b, v)), false);
        }
    }

    /// The tangent of the critics' gradient, whose rows are scaled by `scale (q_bi - y_i)`, along `v` in the critics'
    /// parameters. `last_hidden` holds the mixed weights of each critic's last hidden layer, for ReLU critics.
    pub fn taken_hvp(
        &mut self,
        spec: &Spec,
        point: &Point<'_, T, Batch<T>>,
        scale: T,
        v: &[T],
        last_hidden: &[LastHidden<T>],
    ) {
        self.reach_taken(spec, point);
        self.jacobian(spec, point, v);
        for (b, taken) in self.taken.iter_mut().enumerate() {
            // u = (2/B) (q - y);  u^ = (2/B) q^
            let residuals = &self.residuals[b * self.u.len()..];
            self.u.iter_mut().zip(residuals).for_each(|(u, &r)| *u = scale * r);
            self.u_t.iter_mut().zip(taken.output_t()).for_each(|(u, &q)| *u = scale * q);

            let (net, v) = (spec.critic_net(b, point.critic), spec.critic_net(b, v));
            match last_hidden::index(&spec.critic) {
                None => taken.tangent_backward(net, Some(v), false),
                Some(h) => {
                    let rows = &mut self.last_hidden[b];
                    rows.set_mask(h, taken);
                    rows.scale_rows(h, taken, &self.u, &self.u_t);
                    taken.tangent_backward_from_last_hidden(
                        net,
                        v,
                        h,
                        [&rows.mask, &last_hidden[b].mixed],
                    );
                }
            }
            taken.scale_rows_tangent(&self.u, Some(&self.u_t));
        }
    }

    /// The tangent of [`BatchSlice::scale_rows_now`] along `v` in the actor's parameters.
    pub fn now_hvp(&mut self, spec: &Spec, point: &Point<'_, T, Batch<T>>, scale: T, v: &[T]) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(Stage::ActorGrad, &inputs);
        self.now.tangent(&inputs, v);
        self.now.tangent_backward(&inputs, v);
        self.u.fill(scale);
        self.now.actor.scale_rows_tangent(&self.u, None);
    }

    /// The tangent of [`BatchSlice::scale_rows_now_critics`] along `x` in the actor's parameters.
    pub fn now_critics_tangent(
        &mut self,
        spec: &Spec,
        point: &Point<'_, T, Batch<T>>,
        scale: T,
        x: &[T],
    ) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(Stage::CriticGrad, &inputs);
        self.now.tangent(&inputs, x);
        self.scale_rows_now_critics_tangent(scale);
    }

    /// The same along `x_t` in the actions before `tanh`.
    pub fn now_critics_tangent_of_actions(
        &mut self,
        spec: &Spec,
        point: &Point<'_, T, Batch<T>>,
        scale: T,
        x_t: &[T],
    ) {
        let inputs = self.now_inputs(spec, point);
        self.now.reach(Stage::CriticGrad, &inputs);
        self.now.policy.squash_tangent(x_t);
        self.now.tangent_of_critics(&inputs);
        self.scale_rows_now_critics_tangent(scale);
    }

    fn scale_rows_now_critics_tangent(&mut self, scale: T) {
        for b in 0..self.taken.len() {
            let u = &mut self.u[..self.now.least_rows(b)];
            u.fill(scale);
            self.now.critics[b].scale_rows_tangent(u, None);
        }
    }

    /// Scales the rows of the actor so that their sum is `sum_i D_theta x_i' u_i`, `x` the actions before `tanh`. The
    /// actor's derivatives of `V` stay.
    pub fn scale_rows_of_actions(&mut self, spec: &Spec, point: &Point<'_, T, Batch<T>>, u: &[T]) {
        let inputs = self.now_inputs(spec, point);
        let SoftValue { actor, policy, .. } = &mut self.now;
        self.spare.resize_with(actor.d.len(), Vec::new);
        for (spare, d) in self.spare.iter_mut().zip(&actor.d) {
            spare.resize(d.len(), T::zero());
        }
        std::mem::swap(&mut self.spare, &mut actor.d);
        if let Some(d) = actor.d.last_mut() {
            policy.back_from_actions(u, d);
        }
        actor.backward(inputs.actor());
        self.u.fill(T::one());
        actor.scale_rows(&self.u);
        std::mem::swap(&mut self.spare, &mut actor.d);
    }
}

/// Rows `samples` of `data`, which has rows of length `width`.
fn part<'a, T>(data: &'a [T], samples: &Range<usize>, width: usize) -> &'a [T] {
    &data[samples.start * width..samples.end * width]
}
