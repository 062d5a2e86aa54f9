//! What an off-policy agent hands over and takes back: optimiser state, gradients by name.

use super::{LOG_ENT_COEF, Learner, OffPolicy, learner, point};
use crate::agent::{GameGradients, Moments, Parameter};
use crate::algo::moments;
use crate::algo::off_policy::Family;
use crate::algo::stackelberg::{Damping, StackelbergConfig};
use crate::algo::tensors::TensorPlace;
use crate::engine::{Engine, Role};
use crate::error::Result;
use crate::game::{Game as _, LeaderGradient, Player, Solver, total_derivative};
use crate::memory::Batch;
use crate::optim::Optimizer;

impl<F: Family, E: Engine<f32> + Clone> OffPolicy<F, E> {
    /// Adam's state by parameter; targets have none.
    pub(super) fn read_moments(&self) -> Vec<Moments> {
        let networks = self.trained().filter_map(|(place, role)| {
            let Learner { optimizer, .. } = match role {
                Role::Actor => &self.actor,
                Role::Critic => &self.critic,
            };
            moments::read(optimizer, place)
        });
        let place = TensorPlace { name: LOG_ENT_COEF.into(), shape: vec![1], range: 0..1 };
        let temperature = self.temperature.as_ref().and_then(|t| t.optimizer());
        networks.chain(temperature.and_then(|optimizer| moments::read(optimizer, place))).collect()
    }

    /// Fresh optimisers, then what is `given` of theirs.
    pub(super) fn write_moments(&mut self, given: &[Moments]) -> Result<()> {
        let kind = self.config.optimizer;
        for player in [&mut self.actor, &mut self.critic] {
            player.optimizer = Optimizer::new(kind, player.params.len());
        }
        let trained: Vec<_> = self.trained().collect();
        for (place, role) in trained {
            let learner = learner(&mut self.actor, &mut self.critic, role);
            moments::write(&mut learner.optimizer, &place, given)?;
        }
        if let Some(optimizer) = self.temperature.as_mut().and_then(|t| t.optimizer_mut()) {
            *optimizer = Optimizer::new(kind, 1);
            let place = TensorPlace { name: LOG_ENT_COEF.into(), shape: vec![1], range: 0..1 };
            moments::write(optimizer, &place, given)?;
        }
        Ok(())
    }

    /// Both gradients at the current parameters, on `batch` instead of one from the memory.
    pub(super) fn gradients_on(
        &mut self,
        batch: &Batch<f32>,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        stackelberg.validate()?;
        let role = self.config.leader.unwrap_or(Role::Actor);
        if role == Role::Critic {
            stackelberg.refuse_gauss_newton()?;
        }
        let ent_coef = self.ent_coef();
        let lambda = Damping::new(stackelberg).lambda(self.steps) as f32;
        let clamp = stackelberg.norm_ratio_clamp.map(|c| c as f32);
        let mut solver = Solver::new(&stackelberg.solver_config(0));
        let mut leader = LeaderGradient::new(self.leader_gradient.total.len());
        let mut follower = vec![0.0; self.follower_gradient.len()];

        let Self { engine, actor, critic, .. } = self;
        let mut game = engine.freeze(point(actor, critic, ent_coef, batch), role)?;
        game.gradient(Player::Follower, Player::Follower, &mut follower)?;
        total_derivative(&mut game, &mut solver, lambda, clamp, &mut leader)?;
        drop(game);
        Ok(GameGradients {
            leader: self.named(role, &leader.individual),
            implicit: self.named(role, &leader.implicit),
            total: self.named(role, &leader.total),
            follower: self.named(role.opponent(), &follower),
        })
    }

    /// The tensors that optimisers move.
    fn trained(&self) -> impl Iterator<Item = (TensorPlace, Role)> + use<F, E> {
        let tensors = self.tensors().into_iter();
        tensors.filter(|(.., target)| !target).map(|(place, role, _)| (place, role))
    }

    /// The parts of a vector of `of`'s dimension, by the tensors they belong to.
    fn named(&self, of: Role, vector: &[f32]) -> Vec<Parameter> {
        let own = self.trained().filter(|(_, role)| *role == of);
        own.map(|(place, _)| Parameter {
            values: vector[place.range].to_vec(),
            name: place.name,
            shape: place.shape,
        })
        .collect()
    }
}
