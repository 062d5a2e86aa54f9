//! Random points of actor-critic games in float64, and finite differences.

use agents::algo::ac::{ActorCritic, Data};
use agents::engine::autograd::{Autograd, AutogradGame};
use agents::engine::{Engine, Point, Role};
use agents::flat;
use agents::game::{Game, Player};
use agents::memory::Batch;
use agents::rng::{Purpose, Rng};

/// Parameters of both players and a batch, all random.
#[derive(Clone)]
pub struct Fixture {
    pub actor: Vec<f64>,
    pub critic: Vec<f64>,
    pub target_actor: Vec<f64>,
    pub target_critic: Vec<f64>,
    pub batch: Batch<f64>,
}

impl Fixture {
    /// Weights uniform in +-0.8, so that networks are far from linear and ReLUs of either sign.
    pub fn new(seed: u64, dims: [usize; 2], obs: usize, act: usize, size: usize) -> Self {
        let mut rng = Rng::new(seed, Purpose::Diagnostics);
        let mut vector = |len: usize, scale: f64| -> Vec<f64> {
            (0..len).map(|_| rng.uniform(-scale, scale)).collect()
        };
        let batch = Batch {
            size,
            obs: vector(size * obs, 1.5),
            actions: vector(size * act, 1.0),
            rewards: vector(size, 2.0),
            next_obs: vector(size * obs, 1.5),
            dones: (0..size).map(|i| f64::from(u8::from(i % 4 == 3))).collect(),
            noise: vector(size * act, 1.5),
            next_noise: vector(size * act, 1.5),
        };
        let [actor, critic] = dims;
        Self {
            actor: vector(actor, 0.8),
            critic: vector(critic, 0.8),
            target_actor: vector(actor, 0.8),
            target_critic: vector(critic, 0.8),
            batch,
        }
    }

    pub fn point(&self) -> Point<'_, f64, Batch<f64>> {
        Point {
            actor: &self.actor,
            critic: &self.critic,
            target_actor: &self.target_actor,
            target_critic: &self.target_critic,
            batch: &self.batch,
            ent_coef: 0.3,
        }
    }

    pub fn params(&mut self, role: Role) -> &mut Vec<f64> {
        match role {
            Role::Actor => &mut self.actor,
            Role::Critic => &mut self.critic,
        }
    }

    /// This point moved by `step` along `v` in `role`'s parameters.
    pub fn moved(&self, role: Role, v: &[f64], step: f64) -> Self {
        let mut moved = self.clone();
        flat::axpy(step, v, moved.params(role));
        moved
    }

    pub fn random_vector(&self, seed: u64, len: usize) -> Vec<f64> {
        let mut rng = Rng::new(seed, Purpose::Exploration);
        (0..len).map(|_| rng.normal()).collect()
    }
}

/// A point without averages.
pub fn trajectory_point<'a>(
    actor: &'a [f64],
    critic: &'a [f64],
    batch: &'a Data,
) -> Point<'a, f64, Data> {
    Point { actor, critic, target_actor: &[], target_critic: &[], batch, ent_coef: 0.0 }
}

/// Actor-critic's game there, the actor leading.
pub fn trajectory_game(
    family: &ActorCritic,
    actor: &[f64],
    critic: &[f64],
    batch: &Data,
) -> AutogradGame<f64> {
    let mut engine = Autograd::new(family.clone(), tch::Device::Cpu);
    engine.freeze(trajectory_point(actor, critic, batch), Role::Actor).unwrap()
}

pub fn role_of(leader: Role, player: Player) -> Role {
    if player == Player::Leader { leader } else { leader.opponent() }
}

/// `D_wrt f_of`
pub fn gradient<E: Engine<f64, Batch<f64>>>(
    engine: &mut E,
    at: &Fixture,
    leader: Role,
    of: Player,
    wrt: Player,
) -> Vec<f64> {
    let mut game = engine.freeze(at.point(), leader).unwrap();
    let mut out = vec![f64::NAN; game.dim(wrt)];
    game.gradient(of, wrt, &mut out).unwrap();
    out
}

pub fn loss<E: Engine<f64, Batch<f64>>>(engine: &mut E, at: &Fixture, of: Role) -> f64 {
    let player = if of == Role::Actor { Player::Leader } else { Player::Follower };
    engine.freeze(at.point(), Role::Actor).unwrap().objective(player).unwrap()
}

const STEP: f64 = 1e-6;

/// Central difference of `f` at `at` along `v` in `role`'s parameters.
pub fn directional(
    at: &Fixture,
    role: Role,
    v: &[f64],
    mut f: impl FnMut(&Fixture) -> Vec<f64>,
) -> Vec<f64> {
    let (ahead, behind) = (f(&at.moved(role, v, STEP)), f(&at.moved(role, v, -STEP)));
    ahead.iter().zip(behind).map(|(a, b)| (a - b) / (2.0 * STEP)).collect()
}
