//! The follower as a function of outputs: a critic of its values, or an actor of its actions before `tanh`.

use super::batch_slice::BatchSlice;
use super::game::{FusedGame, Space, for_each};
use super::gram::GramRows;
use super::soft_value::Stage;
use crate::engine::Role;
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::game::curvature::select;
use crate::game::{Composite, Game, Player};

impl<T: Scalar> Composite<T> for FusedGame<'_, T> {
    fn rows(&self) -> usize {
        match self.leader {
            Role::Actor => self.space.samples,
            Role::Critic => self.space.samples * self.spec.action_dim(),
        }
    }

    fn blocks(&self) -> usize {
        match self.leader {
            Role::Actor => self.spec.critics,
            Role::Critic => 1,
        }
    }

    fn uniform(&self) -> Option<T> {
        (self.leader == Role::Actor).then(|| self.over_samples(2.0))
    }

    fn times_outer_hessian(&mut self, u: &mut [T]) -> Result<()> {
        match self.uniform() {
            Some(h) => flat::scale(h, u),
            None => self.times_actor_hessian(u),
        }
        Ok(())
    }

    fn gram(&mut self, block: usize, k: &mut [T]) -> Result<()> {
        let n = self.rows();
        match self.leader {
            Role::Actor => {
                for gram in self.grams() {
                    let rows = gram.k[block].chunks_exact(gram.samples.end);
                    for (i, row) in gram.samples.clone().zip(rows) {
                        k[i * n..=i * n + i].copy_from_slice(&row[..=i]);
                    }
                }
                mirror(n, k, |(row, column)| (column, row));
            }
            Role::Critic => {
                let rows: Vec<usize> = (0..n).collect();
                self.actor_gram(&rows, k);
                mirror(n, k, |below| below);
            }
        }
        Ok(())
    }

    fn gram_diagonal(&mut self, block: usize, out: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => {
                for gram in self.grams() {
                    let (own, width) = (gram.samples.clone(), gram.samples.end);
                    let rows = own.clone().zip(gram.k[block].chunks_exact(width));
                    rows.for_each(|(i, row)| out[i] = row[i]);
                }
            }
            Role::Critic => self.actor_gram_diagonal(out),
        }
        Ok(())
    }

    fn gram_of(&mut self, block: usize, kept: &[usize], k: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => select(self, block, kept, k)?,
            Role::Critic => self.actor_gram(kept, k),
        }
        Ok(())
    }

    fn jacobian_leader_gradient(&mut self, out: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => {
                for (block, out) in out.chunks_exact_mut(self.space.samples).enumerate() {
                    for gram in self.grams() {
                        out[gram.samples.clone()].copy_from_slice(&gram.outputs[block]);
                    }
                }
                Ok(())
            }
            Role::Critic => {
                let mut gradient = vec![T::zero(); self.point.actor.len()];
                Game::gradient(self, Player::Leader, Player::Follower, &mut gradient)?;
                self.jacobian(&gradient, out)
            }
        }
    }

    fn jacobian(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => {
                self.each(|slice, spec, point| slice.jacobian(spec, point, v));
                for (b, out) in out.chunks_exact_mut(self.space.samples).enumerate() {
                    for slice in &self.space.slices {
                        out[slice.samples.clone()].copy_from_slice(slice.taken[b].output_t());
                    }
                }
            }
            Role::Critic => self.actor_jacobian(v, out),
        }
        Ok(())
    }

    fn jacobian_transpose(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => {
                let samples = self.space.samples;
                self.each(|slice, spec, point| {
                    slice.reach_taken(spec, point);
                    slice.scale_rows_taken(|slice, b, i| u[b * samples + slice.samples.start + i]);
                });
                self.sum_gradient(&self.spec.critic, |slice, b| &slice.taken[b], out);
            }
            Role::Critic => self.actor_jacobian_transpose(u, out),
        }
        Ok(())
    }

    fn cross_vjp_of_outputs(&mut self, u: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            Role::Actor => {
                // (2/B) sum_bi u_bi (-D_theta y_i)
                let (samples, two) = (self.space.samples, self.over_samples(2.0));
                let u =
                    |slice: &BatchSlice<T>, b, i| -two * u[b * samples + slice.samples.start + i];
                self.targets_vjp(u, out);
            }
            Role::Critic => self.actor_cross(u, out),
        }
        Ok(())
    }
}

impl<T: Scalar> FusedGame<'_, T> {
    /// `K` and `J D2 f1` of every slice.
    fn grams(&mut self) -> &[GramRows<T>] {
        if !self.space.has_grams {
            if !self.space.slices.iter().all(BatchSlice::has_derivatives) {
                self.each(BatchSlice::reach_taken);
            }
            self.reach_now(Stage::CriticGrad);
            let Space { slices, grams, .. } = &mut *self.space;
            let (spec, slices) = (self.spec, &*slices);
            for_each(grams, &|own, gram: &mut GramRows<T>| gram.compute(spec, slices, own));
            self.space.has_grams = true;
        }
        &self.space.grams
    }
}

/// Copies one half of a matrix of size `n` to the other: to the entry `to(i, j)`, `j < i`, from the one across the diagonal.
fn mirror<T: Scalar>(n: usize, k: &mut [T], to: impl Fn((usize, usize)) -> (usize, usize)) {
    for i in 0..n {
        for j in 0..i {
            let (row, column) = to((i, j));
            k[row * n + column] = k[column * n + row];
        }
    }
}
