//! Per-sample Jacobians of a network with one output. Row `i` of `J` is made of the layers' outer
//! products `D_li [A_li, 1]'`, with `A_l` the inputs of layer `l` and `D_l = dq/dz_l`, so that `J`
//! itself is never formed.

use super::{AutogradGame, Factors, Losses, copy_to, grad, grads};
use crate::error::{Error, Result};
use crate::flat::Scalar;
use crate::game::{Game, LeastSquares, Player};
use tch::Tensor;

impl<T: Scalar> AutogradGame<T> {
    /// `(A_l, D_l)` of every layer of output block `block`.
    fn jacobian_factors(&mut self, block: usize) -> Result<&Factors> {
        let Some((q, layers)) = self.losses.outputs.get(block) else {
            return Err(Error::config(
                "solver",
                block,
                "there is no such block of follower outputs",
            ));
        };
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

    fn device_tensor(&self, values: &[T]) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_to_device(self.actor.device())?)
    }
}

impl<T: Scalar> LeastSquares<T> for AutogradGame<T> {
    fn samples(&self) -> usize {
        self.losses.targets.numel()
    }

    fn blocks(&self) -> usize {
        self.losses.outputs.len()
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
        // D1 [(2/B) sum_bi u_bi omega_i (q_bi - y_i)], q held
        let Losses { outputs, targets, weights, .. } = &self.losses;
        let samples = targets.numel();
        let u = self.device_tensor(u)?.view([-1, samples as i64]);
        let residuals = outputs.iter().map(|(q, _)| q.detach() - targets).collect::<Vec<_>>();
        let mut weighted = u * Tensor::stack(&residuals, 0) * (2.0 / samples as f64);
        if let Some(weights) = weights {
            weighted *= weights;
        }
        copy_to(&grad(&weighted.sum(None), self.params(Player::Leader), false)?, out)
    }
}
