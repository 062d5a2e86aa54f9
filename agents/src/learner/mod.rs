//! The one agent: an algorithm on an engine.
//!
//! [`State`] is all that was learnt, drawn and counted; the rest of a [`Learner`] is made of settings and can be made anew.

mod act;
mod config;
mod state;
mod state_dict;

pub use config::{LearnerConfig, Schedule};
pub use state::{Generators, Progress, State};

use crate::agent::{Actions, Agent, GameGradients, Introspect, Learn, Mode};
use crate::algo::algorithm::{Algorithm, Batches, Draw, Readings};
use crate::algo::temperature::Temperature;
use crate::engine::{Engine, FrozenGame, Point, Role};
use crate::env::Step;
use crate::error::{Error, Result};
use crate::game::spectrum::hessian_extremes;
use crate::game::{
    Arena, Damping, Direction, ImplicitTerm, IndependentBatches, Parts, Play, PlayState, Player,
    Players, Report, StackelbergConfig,
};
use crate::memory::{Batch, Memory as _, MemoryMut, Normalizer};
use crate::metrics::Metrics;
use crate::rng::{Purpose, Rng};
use crate::room;
use crate::settings::Record as _;
use crate::spaces::Spaces;
use crate::train_state::TrainState;
use act::Acting;
use std::any::Any;

/// An agent.
pub struct Learner<A: Algorithm, E> {
    algorithm: A,
    config: LearnerConfig,
    spaces: Spaces,
    acting: Acting,
    normalizer: Option<Normalizer>,
    arena: Frames<A, E>,
    play: Play<f32>,
    state: State<A::Memory>,
}

/// The engine, and what its games are frozen on.
struct Frames<A: Algorithm, E> {
    engine: E,
    /// Of the games that factors of the implicit term have of their own: `D2 f1`, `D22 f2`, `D12 f2`.
    own: Option<Box<[E; 3]>>,
    batches: Option<Batches<A::Batch>>,
    leader: Role,
    ent_coef: f64,
}

/// Lanczos steps at most per spectrum, and the accuracy of each end at which they stop.
const LANCZOS_STEPS: usize = 100;
const LANCZOS_ACCURACY: f64 = 1e-2;

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> Learner<A, E> {
    /// A fresh agent with `memory`, all its randomness from `seed`.
    ///
    /// # Errors
    /// [`Error::Spaces`] if the algorithm does not take these actions.
    pub fn new(
        algorithm: A,
        engine: E,
        memory: A::Memory,
        config: LearnerConfig,
        spaces: Spaces,
        seed: u64,
    ) -> Result<Self> {
        let tensors = algorithm.named_tensors().into_iter().filter(|named| !named.target);
        // With an average, two moments, gradients and directions.
        let bytes = tensors.map(|named| 8 * 4 * named.place.range.len() as u128).sum();
        let net_arch = format!("{:?}", config.common.policy_kwargs.net_arch);
        room::require("the networks", bytes, "policy_kwargs.net_arch", net_arch)?;
        let player = |role, purpose| {
            let params = algorithm.init(role, &mut Rng::new(seed, purpose));
            TrainState::new(params, config.common.optimizer, algorithm.has_targets())
        };
        let state = State {
            actor: player(Role::Actor, Purpose::Actor),
            critic: player(Role::Critic, Purpose::Critic),
            temperature: algorithm.temperature(),
            play: PlayState::default(),
            memory,
            generators: Generators::new(seed),
            noise_matrices: Default::default(),
            progress: Progress::default(),
            metrics: Default::default(),
        };
        let role = config.role();
        let dims = [role, role.opponent()].map(|role| state.player(role).params.len());
        let implicit_term = ImplicitTerm::new(&config.common.stackelberg.solver_config(seed));
        let own = config.independent().then(|| Box::new(std::array::from_fn(|_| engine.clone())));
        Ok(Self {
            acting: Acting::new::<A>(&algorithm, &spaces)?,
            arena: Frames { engine, own, batches: None, leader: role, ent_coef: 0.0 },
            play: Play::new(config.rules(), implicit_term, dims),
            normalizer: None,
            algorithm,
            config,
            spaces,
            state,
        })
    }

    /// All that was learnt, drawn and counted.
    pub fn state(&self) -> &State<A::Memory> {
        &self.state
    }

    /// Goes on from `state`, that of an agent of the same settings.
    pub fn restore(&mut self, state: State<A::Memory>) {
        self.state = state;
    }

    fn ent_coef(&self) -> f64 {
        // eta, 0 for policies without entropy
        self.state.temperature.as_ref().map_or(0.0, Temperature::alpha)
    }

    /// One update on the batches of the arena, and its measures.
    fn update(&mut self) -> Result<()> {
        let ent_coef = self.ent_coef();
        let Self { algorithm, config, arena, play, state, normalizer, .. } = self;
        let State { actor, critic, memory, generators, .. } = state;
        let draw = Draw {
            players: [&actor.params, &critic.params],
            size: config.batch_size,
            sampling: &mut generators.sampling,
            noise: &mut generators.policy,
            normalizer: normalizer.as_ref(),
            independent: config.independent(),
        };
        algorithm.batches(memory, draw, &mut arena.batches)?;
        arena.ent_coef = ent_coef;

        let steps = state.progress.steps;
        let mut players = match config.role() {
            Role::Actor => Players { leader: actor, follower: critic },
            Role::Critic => Players { leader: critic, follower: actor },
        };
        let report =
            play.step(arena, &mut players, &mut state.play, &mut generators.policy, steps)?;
        self.record(&report, ent_coef)
    }

    /// Adds the measures of an update. The first failed solve is warned about, the others are counted.
    fn record(&mut self, report: &Report<[Option<f64>; 2]>, ent_coef: f64) -> Result<()> {
        let Self { algorithm, config, arena, state, .. } = self;
        let Report { losses: [leader, follower], norms, solve, readings } = report;
        let [saturation, entropy] = readings.unwrap_or_default();
        let (actor_loss, critic_loss) = match config.role() {
            Role::Actor => (*leader, *follower),
            Role::Critic => (*follower, *leader),
        };
        let metrics = &mut state.metrics;
        let readings = Readings { actor_loss, critic_loss, saturation, entropy };
        if let Some(batches) = &arena.batches {
            algorithm.record(&readings, &batches.whole, metrics)?;
        }
        metrics.add("train/learning_rate", config.common.learning_rate);
        if let (Some(entropy), Some(temperature)) = (entropy, &mut state.temperature) {
            metrics.add("train/ent_coef", ent_coef);
            metrics.add_some("train/ent_coef_loss", temperature.step(entropy));
        }
        metrics.add_some("game/policy_saturation", saturation);
        let Some(norms) = norms else { return Ok(()) };
        metrics.add("game/leader_grad_norm", norms.leader);
        metrics.add("game/follower_grad_norm", norms.follower);
        let Some(solve) = solve else { return Ok(()) };
        if solve.fallback && state.play.fallbacks == 1 {
            tracing::warn!(
                update = state.play.updates,
                residual = solve.residual,
                "a Stackelberg solve failed; that update takes the plain gradient (further ones are counted in game/fallbacks)"
            );
        }
        for (tag, value) in [
            ("game/individual_grad_norm", norms.individual),
            ("game/implicit_grad_norm", norms.implicit),
            ("game/implicit_ratio", norms.ratio()),
            ("game/cosine", norms.cosine),
            ("game/lambda", solve.lambda),
            ("game/solver_residual", solve.residual),
            ("game/solver_iterations", solve.iterations as f64),
            ("game/negative_curvature", f64::from(u8::from(solve.negative_curvature))),
        ] {
            metrics.add(tag, value);
        }
        for (tag, value) in [
            ("game/lambda_relative", solve.relative_lambda()),
            ("game/effective_rank", solve.effective_rank),
            ("game/positive_curvature", solve.positive_curvature),
            ("game/rows_kept", solve.rows_kept),
        ] {
            metrics.add_some(tag, value);
        }
        metrics.replace("game/fallbacks", state.play.fallbacks as f64);
        Ok(())
    }
}

fn unfit(reason: impl ToString) -> Error {
    Error::State { of: "the agent", reason: reason.to_string() }
}

/// The players by role, where a game is frozen on `batch`.
fn point<'a, B>(
    leader: Role,
    players: [&'a TrainState<f32>; 2],
    batch: &'a B,
    ent_coef: f64,
) -> Point<'a, f32, B> {
    let [actor, critic] = match leader {
        Role::Actor => players,
        Role::Critic => [players[1], players[0]],
    };
    Point {
        actor: &actor.params,
        critic: &critic.params,
        target_actor: &actor.target,
        target_critic: &critic.target,
        batch,
        ent_coef,
    }
}

impl<A: Algorithm, E: Engine<f32, A::Batch>> Arena<f32> for Frames<A, E> {
    type Game<'a>
        = IndependentBatches<E::Frozen<'a>>
    where
        Self: 'a;

    /// The policy's saturation and entropy.
    type Readings = [Option<f64>; 2];

    fn freeze<'a>(&'a mut self, players: [&'a TrainState<f32>; 2]) -> Result<Self::Game<'a>> {
        let Self { engine, own, batches, leader, ent_coef } = self;
        let Some(Batches { whole, parts }) = batches else { return Err(Error::NothingRemembered) };
        let freeze = |engine: &'a mut E, batch: &'a A::Batch| {
            engine.freeze(point(*leader, players, batch, *ent_coef), *leader)
        };
        let parts = match (parts, own.as_deref_mut()) {
            (Parts::Same, _) => Parts::Same,
            (Parts::Own { response, hessian, cross }, Some([e1, e2, e3])) => Parts::Own {
                response: response.as_ref().map(|batch| freeze(e1, batch)).transpose()?,
                hessian: freeze(e2, hessian)?,
                cross: freeze(e3, cross)?,
            },
            (Parts::Missing | Parts::Own { .. }, _) => Parts::Missing,
        };
        Ok(IndependentBatches { whole: freeze(engine, whole)?, parts })
    }

    fn freeze_follower<'a>(
        &'a mut self,
        players: [&'a TrainState<f32>; 2],
    ) -> Result<Self::Game<'a>> {
        let Self { engine, batches, leader, ent_coef, .. } = self;
        let Some(Batches { whole, .. }) = batches else { return Err(Error::NothingRemembered) };
        let point = point(*leader, players, whole, *ent_coef);
        Ok(IndependentBatches {
            whole: engine.freeze_follower(point, *leader)?,
            parts: Parts::Same,
        })
    }

    fn read(game: &mut Self::Game<'_>) -> Result<[Option<f64>; 2]> {
        Ok([game.whole.policy_saturation()?, game.whole.entropy()?])
    }
}

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> Agent for Learner<A, E> {
    fn act(&mut self, obs: &[f32], mode: Mode, actions: &mut Actions) -> Result<()> {
        let Self { algorithm, config, acting, normalizer, state, .. } = self;
        acting.choose(algorithm, config, state, normalizer.as_ref(), (obs, mode), actions)
    }

    fn store(&mut self, obs: &[f32], drawn: &[f32], step: &Step) -> Result<u64> {
        self.state.memory.store(obs, drawn, step);
        Ok(self.state.progress.count(step, &self.config.schedule))
    }

    fn learn(&mut self) -> Result<()> {
        self.update()
    }
}

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> Introspect for Learner<A, E> {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn updates(&self) -> u64 {
        self.state.play.updates
    }

    fn metrics(&mut self) -> Metrics {
        self.state.metrics.take()
    }

    fn diagnostics(&mut self) -> Result<Metrics> {
        // A batch of its own: neither the draws nor the solver's memory of training change.
        let ent_coef = self.ent_coef();
        let Self { algorithm, config, arena, state, normalizer, .. } = self;
        let rng = &mut state.generators.diagnostics;
        let normalizer = normalizer.as_ref();
        let batch = algorithm.probe(&state.memory, config.batch_size, normalizer, rng)?;
        let Some(batch) = batch else { return Ok(Metrics::new()) };
        let (leader, players) = match config.role() {
            Role::Actor => (Role::Actor, [&state.actor, &state.critic]),
            Role::Critic => (Role::Critic, [&state.critic, &state.actor]),
        };
        let game = &mut arena.engine.freeze(point(leader, players, &batch, ent_coef), leader)?;
        let mut extremes =
            |player| hessian_extremes(game, player, rng, LANCZOS_STEPS, LANCZOS_ACCURACY);
        let (follower, leader) = (extremes(Player::Follower)?, extremes(Player::Leader)?);
        Ok(vec![
            ("game/follower_eig_min".into(), follower.min),
            ("game/follower_eig_max".into(), follower.max),
            ("game/leader_eig_min".into(), leader.min),
            ("game/leader_eig_max".into(), leader.max),
        ])
    }
}

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> Learn for Learner<A, E> {
    fn configure(&mut self, new: Box<dyn Learn>) -> Result<()> {
        let new: Box<dyn Any> = new;
        let Ok(new) = new.downcast::<Self>() else { return Err(Error::AnotherKind) };
        let dims = |learner: &Self| {
            [&learner.state.actor, &learner.state.critic].map(|player| player.params.len())
        };
        if dims(&new) != dims(self) {
            return Err(Error::Parameters("the networks have another shape".into()));
        }
        let old = std::mem::replace(self, *new);
        let fresh = std::mem::replace(&mut self.state, old.state);
        self.state.follow(fresh, &old.config, &self.config);
        self.normalizer = old.normalizer;
        Ok(())
    }

    fn memory(&mut self) -> MemoryMut<'_> {
        self.state.memory.as_mut()
    }

    fn save_state(&self) -> Result<Vec<u8>> {
        postcard::to_allocvec(&self.state.without_memory()).map_err(unfit)
    }

    fn load_state(&mut self, state: &[u8]) -> Result<()> {
        let state: State<()> = postcard::from_bytes(state).map_err(unfit)?;
        for role in [Role::Actor, Role::Critic] {
            let (own, saved) = (self.state.player(role), state.player(role));
            if own.lens() != saved.lens() {
                return Err(unfit("it is of other networks or another optimiser"));
            }
            if !saved.all_finite() {
                return Err(unfit("it holds numbers that are not finite"));
            }
        }
        self.state.learn_from(state);
        Ok(())
    }

    fn damping(&self) -> f64 {
        self.state.play.damping
    }

    fn set_damping(&mut self, factor: f64) {
        self.state.play.damping = factor;
    }

    fn reseed(&mut self, seed: u64) {
        self.state.generators = Generators::new(seed);
    }

    fn set_steps(&mut self, steps: u64) {
        self.state.progress = Progress { steps, ..Progress::default() };
        self.state.memory.begin_rollout();
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.common.learning_rate = learning_rate;
        self.play.rules.learning_rates = self.config.learning_rates();
        if let Some(temperature) = &mut self.state.temperature {
            temperature.set_learning_rate(learning_rate);
        }
    }

    fn set_normalizer(&mut self, normalizer: Option<Normalizer>) -> Option<Normalizer> {
        std::mem::replace(&mut self.normalizer, normalizer)
    }

    fn game_gradients(
        &mut self,
        batch: &Batch<f32>,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        let batch = self.algorithm.given(batch)?;
        self.gradients_on(batch, stackelberg)
    }
}

impl<A: Algorithm, E: Engine<f32, A::Batch> + Clone> Learner<A, E> {
    /// Both gradients at the current parameters, on `batch` instead of one from the memory.
    fn gradients_on(
        &mut self,
        batch: &A::Batch,
        stackelberg: &StackelbergConfig,
    ) -> Result<GameGradients> {
        stackelberg.check()?;
        let (ent_coef, leader) = (self.ent_coef(), self.config.role());
        let follower = leader.opponent();
        let mut rules = self.config.rules();
        rules.direction = Direction::Total;
        rules.norm_ratio_clamp = stackelberg.norm_ratio_clamp;
        rules.damping = Damping::new(stackelberg);
        let players = [leader, follower].map(|role| self.state.player(role));
        let implicit_term = ImplicitTerm::new(&stackelberg.solver_config(0));
        let mut play = Play::new(rules, implicit_term, players.map(|player| player.params.len()));
        let point = point(leader, players, batch, ent_coef);
        let mut game = self.arena.engine.freeze(point, leader)?;
        play.follower_gradient(&mut game)?;
        let steps = self.state.progress.steps;
        // Of no use for the total derivative.
        let noise = &mut Rng::new(0, Purpose::Policy);
        let solve = play.leader_gradient(&mut game, &mut PlayState::default(), noise, steps)?;
        drop(game);
        let gradient = play.leader();
        Ok(GameGradients {
            leader: self.named(leader, &gradient.individual),
            implicit: self.named(leader, &gradient.implicit),
            total: self.named(leader, &gradient.total),
            follower: self.named(follower, play.follower()),
            solve: solve.unwrap_or_default(),
        })
    }
}
