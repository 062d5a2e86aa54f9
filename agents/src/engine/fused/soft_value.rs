//! The soft value of a policy on some observations: the scalar
//!
//! ```text
//! V(s) = min_b Q_b(s, pi(s)) - eta log pi(pi(s) | s)
//! ```
//!
//! per row, its derivatives, and their tangents. With current critics its mean is `J`; with target critics it is the
//! bootstrap in `y`. A deterministic policy has no `log pi`; with a single critic the minimum is that critic.

use super::pass::{Net, Pass};
use super::policy::Policy;
use super::spec::Spec;
use crate::flat::Scalar;

/// What has been computed since the last reset; each stage includes the earlier ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Nothing.
    #[default]
    Fresh,
    /// The actions `pi(s)`.
    Actions,
    /// `V`.
    Value,
    /// Critics' derivatives `d_l` of `Q_b`.
    CriticGrad,
    /// The actor's derivatives `d_l` of `V`.
    ActorGrad,
}

/// Parameters and inputs of a soft value.
#[derive(Clone, Copy)]
pub(super) struct Inputs<'a, T> {
    pub spec: &'a Spec,
    pub actor: &'a [T],
    pub critics: &'a [T],
    pub obs: &'a [T],
    pub noise: &'a [T],
    /// Weight of the policy's entropy.
    pub eta: T,
    /// Of how many critics, the first ones, the least counts.
    pub counted: usize,
    /// Standard deviation and bound of noise on the actions.
    pub blur: Option<[T; 2]>,
}

impl<'a, T: Scalar> Inputs<'a, T> {
    pub fn actor(&self) -> Net<'a, T> {
        Net { shape: &self.spec.actor, params: self.actor }
    }

    pub fn critic(&self, block: usize) -> Net<'a, T> {
        self.spec.critic_net(block, self.critics)
    }
}

/// Work space for a fixed number of rows.
#[derive(Clone, Default)]
pub(super) struct SoftValue<T> {
    stage: Stage,
    pub actor: Pass<T>,
    pub policy: Policy<T>,
    pub critics: Vec<Pass<T>>,
    /// `V`
    pub value: Vec<T>,
    /// The index of the critic that is the minimum, per row.
    least: Vec<usize>,
    /// `D_a Q` of that critic, and its tangent.
    by_action: Vec<T>,
    by_action_t: Vec<T>,
    scratch: Vec<T>,
}

impl<T: Scalar> SoftValue<T> {
    /// Work space for `count` rows.
    pub fn new(spec: &Spec, count: usize) -> Self {
        let actions = vec![T::zero(); count * spec.action_dim()];
        Self {
            stage: Stage::Fresh,
            actor: Pass::new(&spec.actor, count),
            policy: Policy::new(count, spec.action_dim(), spec.stochastic),
            critics: vec![Pass::new(&spec.critic, count); spec.critics],
            value: vec![T::zero(); count],
            least: vec![0; count],
            by_action_t: actions.clone(),
            scratch: actions.clone(),
            by_action: actions,
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.stage = Stage::Fresh;
    }

    /// What has been computed.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How many rows have critic `block` as their minimum. From [`Stage::CriticGrad`] on, its passes are over these rows
    /// only.
    pub fn least_rows(&self, block: usize) -> usize {
        self.least.iter().filter(|&&least| least == block).count()
    }

    /// Computes everything up to `stage`, except what is cached.
    pub fn reach(&mut self, stage: Stage, inputs: &Inputs<'_, T>) {
        if self.stage < Stage::Actions && stage >= Stage::Actions {
            self.choose(inputs);
        }
        if self.stage < Stage::Value && stage >= Stage::Value {
            self.evaluate(inputs);
        }
        if self.stage < Stage::CriticGrad && stage >= Stage::CriticGrad {
            // V depends only on the critic that is the minimum.
            for (b, critic) in self.critics.iter_mut().enumerate() {
                if inputs.spec.critics > 1 {
                    critic.keep(&inputs.spec.critic, |row| self.least[row] == b);
                }
                critic.differentiate_output(inputs.critic(b));
            }
        }
        if self.stage < Stage::ActorGrad && stage >= Stage::ActorGrad {
            self.differentiate(inputs);
        }
        self.stage = self.stage.max(stage);
    }

    /// `a = pi(s)`
    fn choose(&mut self, inputs: &Inputs<'_, T>) {
        self.actor.a[0].copy_from_slice(inputs.obs);
        self.actor.forward(inputs.actor());
        self.policy.choose(self.actor.output(), inputs.noise);
        if let Some(blur) = inputs.blur {
            self.policy.blur(blur, inputs.noise);
        }
    }

    /// `V = min_b Q_b(s, a) - eta log pi`
    fn evaluate(&mut self, inputs: &Inputs<'_, T>) {
        let (counted, others) = self.critics.split_at_mut(inputs.counted);
        others.iter_mut().for_each(|critic| critic.resize(&inputs.spec.critic, 0));
        for (b, critic) in counted.iter_mut().enumerate() {
            critic.resize(&inputs.spec.critic, self.least.len());
            concat(inputs.spec, inputs.obs, &self.policy.actions, &mut critic.a[0]);
            critic.forward(inputs.critic(b));
        }
        for (i, (value, least)) in self.value.iter_mut().zip(&mut self.least).enumerate() {
            (*least, *value) = (0, counted[0].output()[i]);
            for (b, critic) in counted.iter().enumerate().skip(1) {
                if critic.output()[i] < *value {
                    (*least, *value) = (b, critic.output()[i]);
                }
            }
        }
        let eta = inputs.eta;
        for (value, &log_prob) in self.value.iter_mut().zip(&self.policy.log_prob) {
            *value -= eta * log_prob;
        }
    }

    /// `D_a Q`, then `D_z V`, then back through the actor.
    fn differentiate(&mut self, inputs: &Inputs<'_, T>) {
        let Self { critics, least, by_action, scratch, .. } = self;
        let columns = inputs.spec.action_columns();
        for (b, critic) in critics.iter().enumerate() {
            let scratch = &mut scratch[..critic.output().len() * columns.len()];
            critic.by_inputs(inputs.critic(b), columns.clone(), scratch);
            scatter(scratch, least, b, by_action);
        }
        if let Some(d) = self.actor.d.last_mut() {
            self.policy.backward(inputs.eta, by_action, d);
        }
        self.actor.backward(inputs.actor());
    }

    /// Tangents of the actions and of the critics along `direction` in the actor's parameters, after
    /// [`Stage::CriticGrad`].
    pub fn tangent(&mut self, inputs: &Inputs<'_, T>, direction: &[T]) {
        let direction = Net { shape: &inputs.spec.actor, params: direction };
        self.actor.tangent(inputs.actor(), Some(direction), false);
        self.policy.tangent(self.actor.output_t());
        self.tangent_of_critics(inputs);
    }

    /// `-D_xx V` where it is positive, by component `i` of all actions before `tanh`, after [`Stage::ActorGrad`].
    pub fn outer_hessian(&self, eta: T, i: usize) -> T {
        self.policy.outer_hessian(eta, self.by_action[i], i)
    }

    /// Tangents of the critics along those of the actions, after [`Stage::CriticGrad`].
    pub fn tangent_of_critics(&mut self, inputs: &Inputs<'_, T>) {
        for (b, critic) in self.critics.iter_mut().enumerate() {
            let (n, m) = (inputs.spec.obs_dim(), inputs.spec.action_dim());
            let rows = critic.inputs_t().chunks_exact_mut(n + m);
            let actions_t = self.policy.actions_t.chunks_exact(m).zip(&self.least);
            let own = actions_t.filter(|(_, least)| **least == b);
            for (row, (action_t, _)) in rows.zip(own) {
                row[n..].copy_from_slice(action_t);
            }
            critic.tangent(inputs.critic(b), None, true);
            critic.tangent_backward(inputs.critic(b), None, false);
        }
    }

    /// The tangent of the actor's derivatives, after [`Stage::ActorGrad`] and [`SoftValue::tangent`].
    pub fn tangent_backward(&mut self, inputs: &Inputs<'_, T>, direction: &[T]) {
        let columns = inputs.spec.action_columns();
        self.by_action_t.fill(T::zero());
        for (b, critic) in self.critics.iter().enumerate() {
            let scratch = &mut self.scratch[..critic.output().len() * columns.len()];
            if critic.by_inputs_tangent(inputs.critic(b), columns.clone(), scratch) {
                scatter(scratch, &self.least, b, &mut self.by_action_t);
            }
        }
        let Self { actor, policy, by_action, by_action_t, .. } = self;
        if let (Some(z_t), Some(d_t)) = (actor.a_t.last(), actor.d_t.last_mut()) {
            policy.tangent_backward(inputs.eta, [by_action, by_action_t, z_t], d_t);
        }
        let direction = Net { shape: &inputs.spec.actor, params: direction };
        actor.tangent_backward(inputs.actor(), Some(direction), true);
    }
}

/// `[obs, actions]`, row by row.
pub(super) fn concat<T: Scalar>(spec: &Spec, obs: &[T], actions: &[T], out: &mut [T]) {
    let (n, m) = (spec.obs_dim(), spec.action_dim());
    let rows = obs.chunks_exact(n).zip(actions.chunks_exact(m));
    for (out, (obs, action)) in out.chunks_exact_mut(n + m).zip(rows) {
        out[..n].copy_from_slice(obs);
        out[n..].copy_from_slice(action);
    }
}

/// Copies the rows of `from`, in order, to the rows of `to` where `least` is `block`.
fn scatter<T: Scalar>(from: &[T], least: &[usize], block: usize, to: &mut [T]) {
    let width = to.len() / least.len();
    let own = to.chunks_exact_mut(width).zip(least).filter(|(_, least)| **least == block);
    for ((to, _), from) in own.zip(from.chunks_exact(width)) {
        to.copy_from_slice(from);
    }
}
