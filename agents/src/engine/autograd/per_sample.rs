//! Per-sample Jacobians of networks. Row `r` of `J` is made of the layers' outer products `D_lr [A_lr, 1]'`, with `A_l` the
//! inputs of layer `l` and `D_l = dz/dz_l` for the output `z` of that row, so that `J` itself is never formed. A critic has a
//! row per sample, an actor one per sample and component of the action.

use super::{AutogradGame, Element, Factors, Losses, copy_to, grad, grads, to_device};
use crate::engine::Role;
use crate::error::{Error, Result};
use crate::game::{Composite, Game, Player};
use tch::Tensor;

impl<T: Element> AutogradGame<T> {
    /// `(A_l, D_l)` of every layer of critic `block`.
    fn critic_factors(&mut self, block: usize) -> Result<&Factors> {
        let (q, layers) = &self.losses.outputs[block];
        let slot = &mut self.critic_factors[block];
        if slot.is_none() {
            // Rows of a batch do not interact, so one backward pass of the sum gives every dq_i/dz_li.
            let derivatives = grads(&q.sum(None), &layer_outputs(layers))?;
            let inputs = layers.iter().map(|(a, _)| a.detach());
            *slot = Some(inputs.zip(derivatives).collect());
        }
        Ok(slot.get_or_insert_default())
    }

    /// `(A_l, D_l)` of every layer of the actor.
    fn actor_factors(&mut self) -> Result<&Factors> {
        let Some((z, layers)) = &self.losses.actions else { return Err(no_outputs()) };
        if self.actor_factors.is_none() {
            let components = z.size()[1];
            let one = |k| grads(&z.select(1, k).sum(None), &layer_outputs(layers));
            let derivatives = (0..components).map(one).collect::<Result<Vec<_>>>()?;
            let factors = layers.iter().enumerate().map(|(l, (a, _))| {
                let of_layer: Vec<&Tensor> = derivatives.iter().map(|of| &of[l]).collect();
                let d = Tensor::stack(&of_layer, 1).flatten(0, 1);
                (a.detach().repeat_interleave_self_int(components, 0, None), d)
            });
            self.actor_factors = Some(factors.collect());
        }
        Ok(self.actor_factors.get_or_insert_default())
    }

    /// Those of the follower's block.
    fn factors(&mut self, block: usize) -> Result<&Factors> {
        match self.leader {
            Role::Actor => self.critic_factors(block),
            Role::Critic => self.actor_factors(),
        }
    }

    /// `J' u` over all critics, whoever leads.
    pub(super) fn critics_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        let critics = self.losses.outputs.len();
        let (per_block, samples) = (out.len() / critics, u.len() / critics);
        let blocks = u.chunks_exact(samples).zip(out.chunks_exact_mut(per_block));
        for (block, (u, out)) in blocks.enumerate() {
            let u = self.device_tensor(u)?;
            copy_to(&transpose(self.critic_factors(block)?, &u), out)?;
        }
        Ok(())
    }

    /// `D_z h` of every block, with its own graph.
    fn slopes(&self) -> Result<Vec<Tensor>> {
        let (of, outputs) = match (self.leader, &self.losses.actions) {
            (Role::Actor, _) => {
                (&self.critic_loss, self.losses.outputs.iter().map(|(q, _)| q).collect())
            }
            (Role::Critic, Some((z, _))) => (&self.losses.actor, vec![z]),
            (Role::Critic, None) => return Err(no_outputs()),
        };
        Ok(Tensor::f_run_backward(&[of], &outputs, true, true)?)
    }

    fn device_tensor(&self, values: &[T]) -> Result<Tensor> {
        to_device(values, self.actor.device())
    }
}

fn no_outputs() -> Error {
    Error::NoOutputs { asked: "the actor's Jacobian" }
}

fn layer_outputs(layers: &Factors) -> Vec<&Tensor> {
    layers.iter().map(|(_, z)| z).collect()
}

/// `J v = sum_l rowsum(D_l o (A_l V_l' + v_l))`
fn apply(factors: &Factors, v: &Tensor) -> Tensor {
    let mut offset = 0;
    let mut part = |len: i64| {
        let part = v.narrow(0, offset, len);
        offset += len;
        part
    };
    let terms = factors.iter().map(|(a, d)| {
        let (inputs, outputs) = (a.size()[1], d.size()[1]);
        let weight = part(inputs * outputs).view([outputs, inputs]);
        let bias = part(outputs);
        (d * a.linear(&weight, Some(bias))).sum_dim_intlist(1, false, None)
    });
    terms.sum()
}

/// `(J' u)_l = [(A_l' (u o D_l))', (u o D_l)' 1]`: libtorch is slow at few columns on the right.
fn transpose(factors: &Factors, u: &Tensor) -> Tensor {
    let u = u.unsqueeze(1);
    let parts = factors.iter().flat_map(|(a, d)| {
        let weighted = d * &u;
        [a.tr().matmul(&weighted).tr().flatten(0, -1), weighted.sum_dim_intlist(0, false, None)]
    });
    Tensor::cat(&parts.collect::<Vec<_>>(), 0)
}

impl<T: Element> Composite<T> for AutogradGame<T> {
    fn rows(&self) -> usize {
        match (self.leader, &self.losses.actions) {
            (Role::Critic, Some((z, _))) => z.numel(),
            _ => self.losses.targets.numel(),
        }
    }

    fn blocks(&self) -> usize {
        match self.leader {
            Role::Actor => self.losses.outputs.len(),
            Role::Critic => 1,
        }
    }

    fn uniform(&self) -> Option<T> {
        let squares = self.leader == Role::Actor && self.losses.critic.is_none();
        squares.then(|| T::of(2.0 / self.rows() as f64))
    }

    fn times_outer_hessian(&mut self, u: &mut [T]) -> Result<()> {
        if let Some(h) = self.uniform() {
            crate::flat::scale(h, u);
            return Ok(());
        }
        // Outputs do not interact, so the derivative of the sum of all D_z h is the diagonal of h''.
        let slopes = self.slopes()?;
        let sum: Tensor = slopes.iter().map(|slope| slope.sum(None)).sum();
        let outputs: Vec<&Tensor> = match (self.leader, &self.losses.actions) {
            (Role::Critic, Some((z, _))) => vec![z],
            _ => self.losses.outputs.iter().map(|(q, _)| q).collect(),
        };
        let bends: Vec<Tensor> = grads(&sum, &outputs)?.iter().map(|b| b.flatten(0, -1)).collect();
        let mut diagonal = vec![T::zero(); u.len()];
        copy_to(&Tensor::f_cat(&bends, 0)?.clamp_min(0.0), &mut diagonal)?;
        u.iter_mut().zip(diagonal).for_each(|(u, h)| *u *= h);
        Ok(())
    }

    fn gram(&mut self, block: usize, k: &mut [T]) -> Result<()> {
        // K = sum_l (A_l A_l' + 1) o (D_l D_l')
        let terms = self.factors(block)?;
        let gram: Tensor =
            terms.iter().map(|(a, d)| (a.matmul(&a.tr()) + 1.0) * d.matmul(&d.tr())).sum();
        copy_to(&gram, k)
    }

    fn normal(&mut self, block: usize, n: &mut [T]) -> Result<()> {
        // J, layer by layer: the rows of D_l o A_l and of D_l
        let parts = self.factors(block)?.iter().flat_map(|(a, d)| {
            let weights = d.unsqueeze(2) * a.unsqueeze(1);
            [weights.flatten(1, -1), d.shallow_clone()]
        });
        let jacobian = Tensor::cat(&parts.collect::<Vec<_>>(), 1);
        copy_to(&jacobian.tr().matmul(&jacobian), n)
    }

    fn jacobian_leader_gradient(&mut self, out: &mut [T]) -> Result<()> {
        let mut gradient = vec![T::zero(); self.dim(Player::Follower)];
        self.gradient(Player::Leader, Player::Follower, &mut gradient)?;
        self.jacobian(&gradient, out)
    }

    fn jacobian(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        let (per_block, rows) = (v.len() / self.blocks(), self.rows());
        let blocks = v.chunks_exact(per_block).zip(out.chunks_exact_mut(rows));
        for (block, (v, out)) in blocks.enumerate() {
            let v = self.device_tensor(v)?;
            copy_to(&apply(self.factors(block)?, &v), out)?;
        }
        Ok(())
    }

    fn jacobian_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => self.critics_transpose(u, out),
            Role::Critic => {
                let u = self.device_tensor(u)?;
                copy_to(&transpose(self.actor_factors()?, &u), out)
            }
        }
    }

    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        let leader = self.params(Player::Leader);
        if self.uniform().is_none() {
            // D1 (D_z h . u)
            let slopes: Vec<Tensor> = self.slopes()?.iter().map(|s| s.flatten(0, -1)).collect();
            let product = Tensor::f_cat(&slopes, 0)?.dot(&self.device_tensor(u)?);
            return copy_to(&grad(&product, leader, false)?, out);
        }
        // D1 [(2/B) sum_bi u_bi omega_i (q_bi - y_i)], q held
        let Losses { outputs, targets, weights, .. } = &self.losses;
        let samples = targets.numel();
        let u = self.device_tensor(u)?.view([-1, samples as i64]);
        let residuals = outputs.iter().map(|(q, _)| q.detach() - targets).collect::<Vec<_>>();
        let mut weighted = u * Tensor::stack(&residuals, 0) * (2.0 / samples as f64);
        if let Some(weights) = weights {
            weighted *= weights;
        }
        copy_to(&grad(&weighted.sum(None), leader, false)?, out)
    }
}
