//! The specification: objectives written with libtorch, differentiated by libtorch.

mod mlp;
mod per_sample;

pub use mlp::{Factors, TensorMlp};

use super::{Engine, FrozenGame, Point, Role, SATURATED};
use crate::error::Result;
use crate::flat::Scalar;
use crate::game::{Composite, Game, Player};
use crate::memory::Batch;
use std::marker::PhantomData;
use tch::{Device, Kind, Tensor};

/// Numbers that libtorch computes with.
pub trait Element: Scalar + tch::kind::Element {}

impl<T: Scalar + tch::kind::Element> Element for T {}

/// A [`Point`] as tensors. `actor` and `critic` require gradients, the rest does not.
pub struct TensorPoint<B> {
    /// theta, flat
    pub actor: Tensor,
    /// w, flat
    pub critic: Tensor,
    /// averaged theta, flat
    pub target_actor: Tensor,
    /// averaged w, flat
    pub target_critic: Tensor,
    /// eta
    pub ent_coef: f64,
    /// What the update learns from.
    pub batch: B,
}

/// The two objectives of an algorithm at one point, as graphs. The critic's loss is
/// `L = sum_b mean_i omega_i (q_bi - y_i)^2`, or `critic`.
pub struct Losses {
    /// `-J`, a scalar. If it takes `outputs`, it depends on the critic in no other way.
    pub actor: Tensor,
    /// `q_b`, each of length `B`, with the layer inputs and outputs of their networks.
    pub outputs: Vec<(Tensor, Factors)>,
    /// `y`, length `B`. Not detached: this is how `L` depends on the actor.
    pub targets: Tensor,
    /// `omega`, length `B`, where the actor drew the samples itself: importance weights, all of
    /// value 1, through whose derivative `L` depends on how they were drawn.
    pub weights: Option<Tensor>,
    /// `L`, a scalar, if it is another sum over `b` and `i` of functions of `q_bi` and `y_i`.
    pub critic: Option<Tensor>,
    /// `z`, `B x action_dim`, the actions before `tanh` in `-J`, with the layer inputs and outputs of the actor's network;
    /// where the Hessian of `-J` by them is diagonal.
    pub actions: Option<(Tensor, Factors)>,
    /// Which components of the policy's actions are at their bounds, `B x action_dim` of truth values; none where actions
    /// have no bounds.
    pub saturated: Option<Tensor>,
    /// Mean of `-log pi`, where the policy is stochastic.
    pub entropy: Option<Tensor>,
}

impl Losses {
    /// These, and of the rest nothing.
    pub fn new(actor: Tensor, outputs: Vec<(Tensor, Factors)>, targets: Tensor) -> Self {
        let (weights, critic, actions, saturated, entropy) = (None, None, None, None, None);
        Self { actor, outputs, targets, weights, critic, actions, saturated, entropy }
    }
}

/// An algorithm's objectives on batches of one kind.
pub trait Objectives<T>: Send + 'static {
    /// What is learnt from.
    type Batch: Send;

    /// The batch as tensors.
    type Tensors<'a>;

    /// Brings `batch` to `device`.
    fn tensors<'a>(&self, batch: &'a Self::Batch, device: Device) -> Result<Self::Tensors<'a>>;

    /// Both objectives at `point`, differentiable in `point.actor` and `point.critic`.
    fn losses(&self, point: &TensorPoint<Self::Tensors<'_>>) -> Losses;

    /// The critic's alone, where that is cheaper.
    fn critic_losses(&self, point: &TensorPoint<Self::Tensors<'_>>) -> Losses {
        self.losses(point)
    }
}

/// A [`Batch`] of transitions as tensors.
pub struct Transitions {
    /// `B x obs_dim`
    pub obs: Tensor,
    /// `B x action_dim`
    pub actions: Tensor,
    /// `B`
    pub rewards: Tensor,
    /// `B x obs_dim`
    pub next_obs: Tensor,
    /// `B`
    pub dones: Tensor,
    /// The policy's standard normal draws at `obs`, flat; empty where it needs none
    pub noise: Tensor,
    /// Those at `next_obs`
    pub next_noise: Tensor,
}

impl Transitions {
    /// On `device`.
    pub fn new<T: Element>(batch: &Batch<T>, device: Device) -> Result<Self> {
        let vector = |values: &[T]| to_device(values, device);
        let rows = |values: &[T]| -> Result<Tensor> {
            let columns = values.len().checked_div(batch.size).unwrap_or(0);
            Ok(vector(values)?.f_view([batch.size as i64, columns as i64])?)
        };
        Ok(Self {
            obs: rows(&batch.obs)?,
            actions: rows(&batch.actions)?,
            rewards: vector(&batch.rewards)?,
            next_obs: rows(&batch.next_obs)?,
            dones: vector(&batch.dones)?,
            noise: vector(&batch.noise)?,
            next_noise: vector(&batch.next_noise)?,
        })
    }
}

/// The engine: objectives and a device.
#[derive(Clone)]
pub struct Autograd<T, O> {
    objectives: O,
    device: Device,
    scalar: PhantomData<T>,
}

impl<T: Element, O: Objectives<T>> Autograd<T, O> {
    /// Differentiates `objectives` on `device`.
    pub fn new(objectives: O, device: Device) -> Self {
        Self { objectives, device, scalar: PhantomData }
    }

    fn point<'a>(&self, point: &Point<'a, T, O::Batch>) -> Result<TensorPoint<O::Tensors<'a>>> {
        let tensor = |values: &[T]| to_device(values, self.device);
        Ok(TensorPoint {
            actor: tensor(point.actor)?.set_requires_grad(true),
            critic: tensor(point.critic)?.set_requires_grad(true),
            target_actor: tensor(point.target_actor)?,
            target_critic: tensor(point.target_critic)?,
            ent_coef: point.ent_coef,
            batch: self.objectives.tensors(point.batch, self.device)?,
        })
    }
}

impl<T: Element, O: Objectives<T>> Engine<T, O::Batch> for Autograd<T, O> {
    type Frozen<'a>
        = AutogradGame<T>
    where
        Self: 'a,
        O::Batch: 'a;

    fn freeze<'a>(
        &'a mut self,
        point: Point<'a, T, O::Batch>,
        leader: Role,
    ) -> Result<AutogradGame<T>> {
        let point = self.point(&point)?;
        let losses = self.objectives.losses(&point);
        Ok(AutogradGame::new(point.actor, point.critic, losses, leader))
    }

    fn freeze_follower<'a>(
        &'a mut self,
        point: Point<'a, T, O::Batch>,
        leader: Role,
    ) -> Result<AutogradGame<T>> {
        if leader == Role::Critic {
            return self.freeze(point, leader);
        }
        let point = self.point(&point)?;
        let losses = self.objectives.critic_losses(&point);
        Ok(AutogradGame::new(point.actor, point.critic, losses, leader))
    }
}

/// Which of `actions`, in the unit box, are beyond 0.99.
pub fn saturated(actions: &Tensor) -> Tensor {
    actions.abs().gt(SATURATED)
}

/// A vector on a device.
pub(crate) fn to_device<T: Element>(values: &[T], device: Device) -> Result<Tensor> {
    Ok(Tensor::f_from_slice(values)?.f_to_device(device)?)
}

/// A frozen game, differentiated by libtorch.
pub struct AutogradGame<T> {
    actor: Tensor,
    critic: Tensor,
    losses: Losses,
    critic_loss: Tensor,
    leader: Role,
    /// `D_p f_p` of leader and follower with its own graph, for second derivatives.
    differentiable: [Option<Tensor>; 2],
    /// The factors of the Jacobians of each critic and of the actor.
    critic_factors: Vec<Option<Factors>>,
    actor_factors: Option<Factors>,
    scalar: PhantomData<T>,
}

impl<T: Element> AutogradGame<T> {
    /// The game of `losses`, which are graphs over `actor` and `critic`.
    pub fn new(actor: Tensor, critic: Tensor, losses: Losses, leader: Role) -> Self {
        // L = sum_b (1/B) sum_i omega_i (q_bi - y_i)^2                        (4), (8), (10)
        let squared = |q: &Tensor| {
            let squares = (q - &losses.targets).square();
            match &losses.weights {
                Some(weights) => (squares * weights).mean(None),
                None => squares.mean(None),
            }
        };
        let critic_loss: Tensor = match &losses.critic {
            Some(other) => other.shallow_clone(),
            None => losses.outputs.iter().map(|(q, _)| squared(q)).sum(),
        };
        let critic_factors = losses.outputs.iter().map(|_| None).collect();
        Self {
            actor,
            critic,
            losses,
            critic_loss,
            leader,
            differentiable: [None, None],
            critic_factors,
            actor_factors: None,
            scalar: PhantomData,
        }
    }

    fn role(&self, player: Player) -> Role {
        match player {
            Player::Leader => self.leader,
            Player::Follower => self.leader.opponent(),
        }
    }

    fn params(&self, player: Player) -> &Tensor {
        match self.role(player) {
            Role::Actor => &self.actor,
            Role::Critic => &self.critic,
        }
    }

    fn graph(&self, player: Player) -> &Tensor {
        match self.role(player) {
            Role::Actor => &self.losses.actor,
            Role::Critic => &self.critic_loss,
        }
    }

    /// `D_q f_of`, where `f_of` depends on the critic's outputs.
    fn by_outputs(&self, of: Player) -> Result<Option<Vec<T>>> {
        let objective = self.graph(of);
        if !objective.requires_grad() {
            return Ok(None);
        }
        let outputs: Vec<&Tensor> = self.losses.outputs.iter().map(|(q, _)| q).collect();
        let gradients = Tensor::f_run_backward(&[objective], &outputs, true, false)?;
        if !gradients.iter().all(Tensor::defined) {
            return Ok(None);
        }
        let mut u = vec![T::zero(); self.losses.outputs.len() * self.losses.targets.numel()];
        copy_to(&Tensor::f_cat(&gradients, 0)?, &mut u)?;
        Ok(Some(u))
    }

    /// `D_wrt (D_of f_of . v)`
    fn second_derivative(&mut self, of: Player, v: &[T], wrt: Player, out: &mut [T]) -> Result<()> {
        let slot = of as usize;
        if self.differentiable[slot].is_none() {
            self.differentiable[slot] = Some(grad(self.graph(of), self.params(of), true)?);
        }
        let v = to_device(v, self.actor.device())?;
        match &self.differentiable[slot] {
            Some(gradient) => copy_to(&grad(&gradient.dot(&v), self.params(wrt), false)?, out),
            None => Ok(()),
        }
    }
}

impl<T: Element> Game<T> for AutogradGame<T> {
    fn dim(&self, player: Player) -> usize {
        self.params(player).numel()
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        // D_w f = J' D_q f: the Jacobian's factors are computed once, for every gradient and product
        if self.role(wrt) == Role::Critic
            && let Some(u) = self.by_outputs(of)?
        {
            return self.critics_transpose(&u, out);
        }
        copy_to(&grad(self.graph(of), self.params(wrt), false)?, out)
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.second_derivative(Player::Follower, v, Player::Follower, out)
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            // D2 f2 . x = (2/B) sum_bi omega_i (q_bi - y_i) (J x)_bi: one pass back instead of two
            Role::Actor => {
                let mut outputs = vec![T::zero(); self.blocks() * self.rows()];
                self.jacobian(x, &mut outputs)?;
                self.cross_vjp_of_outputs(&outputs, out)
            }
            Role::Critic => self.second_derivative(Player::Follower, x, Player::Leader, out),
        }
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.second_derivative(Player::Leader, v, Player::Leader, out)
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        Ok(f64::try_from(self.graph(of))?)
    }

    fn composite(&mut self) -> Option<&mut dyn Composite<T>> {
        let outputs = self.leader == Role::Actor || self.losses.actions.is_some();
        if outputs { Some(self) } else { None }
    }
}

impl<T: Element> FrozenGame<T> for AutogradGame<T> {
    fn policy_saturation(&mut self) -> Result<Option<f64>> {
        let saturated = self.losses.saturated.as_ref();
        let share = saturated.map(|share| f64::try_from(share.to_kind(Kind::Double).mean(None)));
        Ok(share.transpose()?)
    }

    fn entropy(&mut self) -> Result<Option<f64>> {
        Ok(self.losses.entropy.as_ref().map(f64::try_from).transpose()?)
    }
}

/// `D_input output`; zeros where `output` does not depend on `input`. The graph is kept.
pub(crate) fn grad(output: &Tensor, input: &Tensor, create_graph: bool) -> Result<Tensor> {
    if !output.requires_grad() {
        return Ok(input.f_zeros_like()?);
    }
    let gradient = Tensor::f_run_backward(&[output], &[input], true, create_graph)?.swap_remove(0);
    if gradient.defined() { Ok(gradient) } else { Ok(input.f_zeros_like()?) }
}

/// `D_input output` for several inputs in one pass; zeros where `output` does not depend on one.
fn grads(output: &Tensor, inputs: &[&Tensor]) -> Result<Vec<Tensor>> {
    let gradients = Tensor::f_run_backward(&[output], inputs, true, false)?;
    let defined = gradients.into_iter().zip(inputs).map(|(gradient, input)| {
        if gradient.defined() { Ok(gradient) } else { Ok(input.f_zeros_like()?) }
    });
    defined.collect()
}

/// Copies a tensor of any device into `out`.
pub(crate) fn copy_to<T: Element>(tensor: &Tensor, out: &mut [T]) -> Result<()> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    Ok(tensor.f_copy_data(out, out.len())?)
}
