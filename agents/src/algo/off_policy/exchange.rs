//! What an off-policy agent hands over and takes back: parameters, optimiser state, gradients by
//! name, and the settings of another agent.

use super::{Learner, OffPolicy, learner, point};
use crate::agent::{Agent, GameGradients};
use crate::algo::off_policy::Family;
use crate::algo::temperature::Temperature;
use crate::engine::{Engine, Role};
use crate::error::{Error, Result};
use crate::game::{Damping, StackelbergConfig};
use crate::game::{Game as _, LeaderGradient, Player, Solver, total_derivative};
use crate::memory::Batch;
use crate::optim::Optimizer;
use crate::params::{self, TensorPlace, matching, sequential_tensors};
use crate::params::{Moments, Parameter};
use crate::settings::Record as _;
use std::any::Any;

/// Name of the logarithm of a learnt entropy coefficient among the parameters.
const LOG_ENT_COEF: &str = "log_ent_coef";

impl<F: Family, E: Engine<f32> + Clone> OffPolicy<F, E> {
    /// All parameters, by name.
    pub(super) fn read_parameters(&self) -> Vec<Parameter> {
        let vector = |role, target| match (role, target) {
            (Role::Actor, false) => &self.actor.params,
            (Role::Actor, true) => &self.actor.target,
            (Role::Critic, false) => &self.critic.params,
            (Role::Critic, true) => &self.critic.target,
        };
        let networks = self.tensors().into_iter().map(|(place, role, target)| Parameter {
            values: vector(role, target)[place.range].to_vec(),
            name: place.name,
            shape: place.shape,
        });
        let log_alpha = self.temperature.as_ref().and_then(Temperature::log_alpha);
        let log_alpha = log_alpha.map(|value| Parameter {
            name: LOG_ENT_COEF.into(),
            shape: vec![1],
            values: vec![value],
        });
        networks.chain(log_alpha).collect()
    }

    /// Replaces all parameters.
    pub(super) fn write_parameters(&mut self, parameters: &[Parameter]) -> Result<()> {
        let (own, networks): (Vec<_>, Vec<_>) =
            parameters.iter().cloned().partition(|p| p.name == LOG_ENT_COEF);
        let tensors = self.tensors();
        let places = tensors.iter().map(|(place, ..)| place);
        let networks = matching(&networks, places)?;
        self.set_log_alpha(&own)?;
        for (parameter, (place, role, target)) in networks.iter().zip(&tensors) {
            let learner = learner(&mut self.actor, &mut self.critic, *role);
            let vector = if *target { &mut learner.target } else { &mut learner.params };
            vector[place.range.clone()].copy_from_slice(&parameter.values);
        }
        Ok(())
    }

    /// Adam's state by parameter; targets have none.
    pub(super) fn read_moments(&self) -> Vec<Moments> {
        let networks = self.trained().filter_map(|(place, role)| {
            let Learner { optimizer, .. } = match role {
                Role::Actor => &self.actor,
                Role::Critic => &self.critic,
            };
            params::read_moments(optimizer, place)
        });
        let place = TensorPlace { name: LOG_ENT_COEF.into(), shape: vec![1], range: 0..1 };
        let temperature = self.temperature.as_ref().and_then(|t| t.optimizer());
        networks
            .chain(temperature.and_then(|optimizer| params::read_moments(optimizer, place)))
            .collect()
    }

    /// Fresh optimisers, then what is `given` of theirs.
    pub(super) fn write_moments(&mut self, given: &[Moments]) -> Result<()> {
        let kind = self.config.common.optimizer;
        for player in [&mut self.actor, &mut self.critic] {
            player.optimizer = Optimizer::new(kind, player.params.len());
        }
        let trained: Vec<_> = self.trained().collect();
        for (place, role) in trained {
            let learner = learner(&mut self.actor, &mut self.critic, role);
            params::write_moments(&mut learner.optimizer, &place, given)?;
        }
        if let Some(optimizer) = self.temperature.as_mut().and_then(|t| t.optimizer_mut()) {
            *optimizer = Optimizer::new(kind, 1);
            let place = TensorPlace { name: LOG_ENT_COEF.into(), shape: vec![1], range: 0..1 };
            params::write_moments(optimizer, &place, given)?;
        }
        Ok(())
    }

    /// What depends on settings comes from `new`; what has been learnt, drawn or counted stays.
    pub(super) fn adopt(&mut self, new: Box<dyn Agent>) -> Result<()> {
        let new: Box<dyn Any> = new;
        let Ok(new) = new.downcast::<Self>() else {
            let reason = "an agent keeps its engine and its device; make a new one";
            return Err(Error::config("engine", "another", reason));
        };
        let Self { family, engine, config, actor, critic, temperature, damping, replay, .. } = *new;
        let Self { independent, solver, leader_gradient, follower_gradient, .. } = *new;
        if (actor.params.len(), critic.params.len())
            != (self.actor.params.len(), self.critic.params.len())
        {
            return Err(Error::Parameters("the networks have another shape".into()));
        }
        for (own, new) in [(&mut self.actor, actor), (&mut self.critic, critic)] {
            own.learning_rate = new.learning_rate;
            if self.config.common.optimizer != config.common.optimizer {
                own.optimizer = new.optimizer;
            }
        }
        if let (Some(own), Some(new)) = (&mut self.temperature, temperature) {
            own.adopt(new);
        }
        self.damping.adopt(damping);
        if self.replay.capacity() != replay.capacity() {
            self.replay = self.replay.resized(replay.capacity());
        }
        // A warm start is part of what has been learnt.
        if self.config.common.leader != config.common.leader
            || self.config.common.stackelberg != config.common.stackelberg
        {
            self.solver = solver;
        }
        (self.family, self.engine, self.config) = (family, engine, config);
        self.independent = independent;
        (self.leader_gradient, self.follower_gradient) = (leader_gradient, follower_gradient);
        Ok(())
    }

    /// Both gradients at the current parameters, on `batch` instead of one from the memory.
    pub(super) fn gradients_on(
        &mut self,
        batch: &Batch<f32>,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        stackelberg.check()?;
        if batch.size == 0 {
            return Err(Error::config("the batch's size", 0, "it must be at least 1"));
        }
        let role = self.config.common.leader.unwrap_or(Role::Actor);
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
        let solve = total_derivative(&mut game, &mut solver, lambda, clamp, &mut leader)?;
        drop(game);
        Ok(GameGradients {
            leader: self.named(role, &leader.individual),
            implicit: self.named(role, &leader.implicit),
            total: self.named(role, &leader.total),
            follower: self.named(role.opponent(), &follower),
            solve,
        })
    }

    /// Takes `log alpha`, if there is one, from the parameters that are no network's.
    fn set_log_alpha(&mut self, own: &[Parameter]) -> Result<()> {
        let learnt = self.temperature.as_mut().filter(|t| t.log_alpha().is_some());
        match (learnt, own) {
            (None, []) => Ok(()),
            (Some(temperature), [Parameter { values, .. }]) if values.len() == 1 => {
                temperature.set_log_alpha(values[0]);
                Ok(())
            }
            (Some(_), _) => Err(Error::Parameters(format!("`{LOG_ENT_COEF}` must be one number"))),
            (None, _) => {
                Err(Error::Parameters(format!("`{LOG_ENT_COEF}` is not one of this agent's")))
            }
        }
    }

    /// Every named tensor with its place: `(name, shape, actor or critic, target or not, range)`.
    fn tensors(&self) -> Vec<(TensorPlace, Role, bool)> {
        let mut tensors = Vec::new();
        let mut add = |prefix: &str, places: Vec<TensorPlace>, role: Role, target: bool| {
            tensors.extend(places.into_iter().map(|place| {
                let name = format!("{prefix}.{}", place.name);
                (TensorPlace { name, ..place }, role, target)
            }));
        };
        let critics = || {
            let network = self.family.critic();
            (0..self.family.critics())
                .flat_map(|i| {
                    sequential_tensors(&network.layers, &format!("qf{i}"), i * network.dim())
                })
                .collect()
        };
        add("actor", self.family.actor_tensors(), Role::Actor, false);
        if self.family.has_target_actor() {
            add("actor_target", self.family.actor_tensors(), Role::Actor, true);
        }
        add("critic", critics(), Role::Critic, false);
        add("critic_target", critics(), Role::Critic, true);
        tensors
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
