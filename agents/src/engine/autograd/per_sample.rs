//! Per-sample Jacobians of a network with one output. Row `i` of `J` is made of the layers' outer
//! products `D_li [A_li, 1]'`, with `A_l` the inputs of layer `l` and `D_l = dq/dz_l`, so that `J`
//! itself is never formed.

use super::{AutogradGame, Element, Factors, Losses, copy_to, grad, grads, to_device};
use crate::error::Result;
use crate::game::{Composite, Game, OuterHessian, Player};
use tch::Tensor;

impl<T: Element> AutogradGame<T> {
    /// `(A_l, D_l)` of every layer of output block `block`.
    fn jacobian_factors(&mut self, block: usize) -> Result<&Factors> {
        let (q, layers) = &self.losses.outputs[block];
        let slot = &mut self.jacobians[block];
        if slot.is_none() {
            // Rows of a batch do not interact, so one backward pass of the sum gives every dq_i/dz_li.
            let outputs: Vec<&Tensor> = layers.iter().map(|(_, z)| z).collect();
            let derivatives = grads(&q.sum(None), &outputs)?;
            let inputs = layers.iter().map(|(a, _)| a.detach());
            *slot = Some(inputs.zip(derivatives).collect());
        }
        Ok(slot.get_or_insert_default())
    }

    /// `D_q h` of every block, with its own graph.
    fn slopes(&self) -> Result<Vec<Tensor>> {
        let outputs: Vec<&Tensor> = self.losses.outputs.iter().map(|(q, _)| q).collect();
        Ok(Tensor::f_run_backward(&[&self.critic_loss], &outputs, true, true)?)
    }

    fn device_tensor(&self, values: &[T]) -> Result<Tensor> {
        to_device(values, self.actor.device())
    }
}

impl<T: Element> Composite<T> for AutogradGame<T> {
    fn samples(&self) -> usize {
        self.losses.targets.numel()
    }

    fn blocks(&self) -> usize {
        self.losses.outputs.len()
    }

    fn outer_hessian(&mut self) -> Result<OuterHessian<T>> {
        if self.losses.critic.is_none() {
            return Ok(OuterHessian::Uniform(T::of(2.0 / self.samples() as f64)));
        }
        // Outputs do not interact, so the derivative of the sum of all D_q h is the diagonal of h''.
        let slopes = self.slopes()?;
        let sum: Tensor = slopes.iter().map(|slope| slope.sum(None)).sum();
        let outputs: Vec<&Tensor> = self.losses.outputs.iter().map(|(q, _)| q).collect();
        let bends = grads(&sum, &outputs)?;
        let mut diagonal = vec![T::zero(); self.blocks() * self.samples()];
        copy_to(&Tensor::f_cat(&bends, 0)?.clamp_min(0.0), &mut diagonal)?;
        Ok(OuterHessian::Diagonal(diagonal))
    }

    fn gram(&mut self, block: usize, k: &mut [T]) -> Result<()> {
        // K = sum_l (A_l A_l' + 1) o (D_l D_l')
        let terms = self.jacobian_factors(block)?;
        let gram: Tensor =
            terms.iter().map(|(a, d)| (a.matmul(&a.tr()) + 1.0) * d.matmul(&d.tr())).sum();
        copy_to(&gram, k)
    }

    fn normal(&mut self, block: usize, n: &mut [T]) -> Result<()> {
        // J, layer by layer: the rows of D_l o A_l and of D_l
        let parts = self.jacobian_factors(block)?.iter().flat_map(|(a, d)| {
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
        let blocks = self.blocks();
        let (per_block, samples) = (v.len() / blocks, self.samples());
        for ((block, v), out) in
            (0..blocks).zip(v.chunks_exact(per_block)).zip(out.chunks_exact_mut(samples))
        {
            // J v = sum_l rowsum(D_l o (A_l V_l' + v_l))
            let v = self.device_tensor(v)?;
            let mut offset = 0;
            let mut part = |len: i64| {
                let part = v.narrow(0, offset, len);
                offset += len;
                part
            };
            let factors = self.jacobian_factors(block)?;
            let terms = factors.iter().map(|(a, d)| {
                let (inputs, outputs) = (a.size()[1], d.size()[1]);
                let weight = part(inputs * outputs).view([outputs, inputs]);
                let bias = part(outputs);
                (d * a.linear(&weight, Some(bias))).sum_dim_intlist(1, false, None)
            });
            copy_to(&terms.sum::<Tensor>(), out)?;
        }
        Ok(())
    }

    fn jacobian_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        let blocks = self.blocks();
        let (per_block, samples) = (out.len() / blocks, self.samples());
        for ((block, u), out) in
            (0..blocks).zip(u.chunks_exact(samples)).zip(out.chunks_exact_mut(per_block))
        {
            // (J' u)_l = [(A_l' (u o D_l))', (u o D_l)' 1]: libtorch is slow at few columns on the right
            let u = self.device_tensor(u)?.unsqueeze(1);
            let parts = self.jacobian_factors(block)?.iter().flat_map(|(a, d)| {
                let weighted = d * &u;
                [
                    a.tr().matmul(&weighted).tr().flatten(0, -1),
                    weighted.sum_dim_intlist(0, false, None),
                ]
            });
            copy_to(&Tensor::cat(&parts.collect::<Vec<_>>(), 0), out)?;
        }
        Ok(())
    }

    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        let leader = self.params(Player::Leader);
        if self.losses.critic.is_some() {
            // D1 (D_q h . u)
            let u = self.device_tensor(u)?.view([self.blocks() as i64, -1]);
            let product = (Tensor::stack(&self.slopes()?, 0) * u).sum(None);
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
