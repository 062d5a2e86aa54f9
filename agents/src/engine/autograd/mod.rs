//! The specification: objectives written with libtorch, differentiated by libtorch.

mod mlp;
mod per_sample;

pub use mlp::{Factors, TensorMlp};

use super::{Engine, FrozenGame, Point, Role, SATURATED};
use crate::error::Result;
use crate::flat::Scalar;
use crate::game::{Game, LeastSquares, Player};
use std::marker::PhantomData;
use tch::{Device, Kind, Tensor};

/// A [`Point`] as tensors. `actor` and `critic` require gradients, the rest does not.
pub struct TensorPoint {
    /// theta, flat
    pub actor: Tensor,
    /// w, flat
    pub critic: Tensor,
    /// averaged theta, flat
    pub target_actor: Tensor,
    /// averaged w, flat
    pub target_critic: Tensor,
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
    /// eta
    pub ent_coef: f64,
}

/// The two objectives of an algorithm at one point, as graphs. The critic's loss is
/// `L = sum_b mean_i omega_i (q_bi - y_i)^2`.
pub struct Losses {
    /// `-J`, a scalar.
    pub actor: Tensor,
    /// `q_b`, each of length `B`, with the layer inputs and outputs of their networks.
    pub outputs: Vec<(Tensor, Factors)>,
    /// `y`, length `B`. Not detached: this is how `L` depends on the actor.
    pub targets: Tensor,
    /// `omega`, length `B`, where the actor drew the samples itself: importance weights, all of
    /// value 1, through whose derivative `L` depends on how they were drawn.
    pub weights: Option<Tensor>,
    /// The policy's actions at `obs` in the unit box.
    pub actions: Tensor,
    /// Mean of `-log pi`, where the policy is stochastic.
    pub entropy: Option<Tensor>,
}

/// An algorithm's objectives.
pub trait Objectives: Send {
    /// Both objectives at `point`, differentiable in `point.actor` and `point.critic`.
    fn losses(&self, point: &TensorPoint) -> Losses;
}

/// The engine: objectives and a device.
#[derive(Clone)]
pub struct Autograd<T, O> {
    objectives: O,
    device: Device,
    scalar: PhantomData<T>,
}

impl<T: Scalar, O: Objectives> Autograd<T, O> {
    /// Differentiates `objectives` on `device`.
    pub fn new(objectives: O, device: Device) -> Self {
        Self { objectives, device, scalar: PhantomData }
    }

    fn tensor(&self, values: &[T]) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_to_device(self.device)?)
    }

    fn rows(&self, values: &[T], rows: usize) -> Result<Tensor> {
        let columns = values.len().checked_div(rows).unwrap_or(0);
        Ok(self.tensor(values)?.f_view([rows as i64, columns as i64])?)
    }
}

impl<T: Scalar, O: Objectives> Engine<T> for Autograd<T, O> {
    type Frozen<'a>
        = AutogradGame<T>
    where
        Self: 'a;

    fn freeze<'a>(&'a mut self, point: Point<'a, T>, leader: Role) -> Result<AutogradGame<T>> {
        let batch = point.batch;
        let point = TensorPoint {
            actor: self.tensor(point.actor)?.set_requires_grad(true),
            critic: self.tensor(point.critic)?.set_requires_grad(true),
            target_actor: self.tensor(point.target_actor)?,
            target_critic: self.tensor(point.target_critic)?,
            obs: self.rows(&batch.obs, batch.size)?,
            actions: self.rows(&batch.actions, batch.size)?,
            rewards: self.tensor(&batch.rewards)?,
            next_obs: self.rows(&batch.next_obs, batch.size)?,
            dones: self.tensor(&batch.dones)?,
            noise: self.tensor(&batch.noise)?,
            next_noise: self.tensor(&batch.next_noise)?,
            ent_coef: point.ent_coef,
        };
        let losses = self.objectives.losses(&point);
        Ok(AutogradGame::new(point.actor, point.critic, losses, leader))
    }
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
    /// The factors of each output block's Jacobian.
    jacobians: Vec<Option<Factors>>,
    scalar: PhantomData<T>,
}

impl<T: Scalar> AutogradGame<T> {
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
        let critic_loss: Tensor = losses.outputs.iter().map(|(q, _)| squared(q)).sum();
        let jacobians = losses.outputs.iter().map(|_| None).collect();
        Self {
            actor,
            critic,
            losses,
            critic_loss,
            leader,
            differentiable: [None, None],
            jacobians,
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

    fn objective(&self, player: Player) -> &Tensor {
        match self.role(player) {
            Role::Actor => &self.losses.actor,
            Role::Critic => &self.critic_loss,
        }
    }

    /// `D_wrt (D_of f_of . v)`
    fn second_derivative(&mut self, of: Player, v: &[T], wrt: Player, out: &mut [T]) -> Result<()> {
        let slot = of as usize;
        if self.differentiable[slot].is_none() {
            self.differentiable[slot] = Some(grad(self.objective(of), self.params(of), true)?);
        }
        let v = Tensor::f_from_slice(v)?.f_to_device(self.actor.device())?;
        match &self.differentiable[slot] {
            Some(gradient) => copy_to(&grad(&gradient.dot(&v), self.params(wrt), false)?, out),
            None => Ok(()),
        }
    }
}

impl<T: Scalar> Game<T> for AutogradGame<T> {
    fn dim(&self, player: Player) -> usize {
        self.params(player).numel()
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        copy_to(&grad(self.objective(of), self.params(wrt), false)?, out)
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.second_derivative(Player::Follower, v, Player::Follower, out)
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        self.second_derivative(Player::Follower, x, Player::Leader, out)
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.second_derivative(Player::Leader, v, Player::Leader, out)
    }

    fn least_squares(&mut self) -> Option<&mut dyn LeastSquares<T>> {
        match self.leader {
            Role::Actor => Some(self),
            Role::Critic => None,
        }
    }
}

impl<T: Scalar> FrozenGame<T> for AutogradGame<T> {
    fn loss(&mut self, of: Role) -> Result<f64> {
        Ok(f64::try_from(match of {
            Role::Actor => &self.losses.actor,
            Role::Critic => &self.critic_loss,
        })?)
    }

    fn policy_saturation(&mut self) -> Result<f64> {
        let saturated = self.losses.actions.abs().gt(SATURATED);
        Ok(f64::try_from(saturated.to_kind(Kind::Double).mean(None))?)
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
pub(crate) fn copy_to<T: Scalar>(tensor: &Tensor, out: &mut [T]) -> Result<()> {
    let tensor = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?;
    Ok(tensor.f_copy_data(out, out.len())?)
}
