//! Closed-form kernels for actor-critics on perceptrons, on the CPU: what libtorch would compute, and
//! nothing that the update does not need. The autograd engine is the specification.
//!
//! The two objectives of DDPG and SAC are sums over samples of scalars that the networks give,
//!
//! ```text
//! f_actor  = -(1/B) sum_i V(s_i),                     V(s) = min_b Q_b(s, pi(s)) - eta log pi
//! f_critic = (1/B) sum_bi (q_bi - y_i)^2,             q_bi = Q_b(s_i, a_i)
//! y_i      = r_i + gamma (1 - d_i) V_0(s'_i)
//! ```
//!
//! so every derivative is a pass over the rows of the batch (`pass`, `policy`, `valuation`, `shard`)
//! and one sum over rows at the end, a product of matrices (`matrix`). A frozen game computes what it
//! is asked for, and each part once.

mod gram;
mod matrix;
mod pass;
mod policy;
mod shard;
mod sums;
mod top;
mod valuation;

pub use matrix::{Products, products};

use super::{Engine, FrozenGame, Point, Role, SATURATED};
use crate::error::Result;
use crate::flat::Scalar;
use crate::game::{Game, LeastSquares, Player};
use crate::nn::Mlp;
use crate::threads;
use gram::GramRows;
use pass::{Net, Pass};
use shard::Shard;
use std::ops::Range;
use sums::for_each_stretch;
use top::Top;
use valuation::Stage;

/// What the engine has to know of an algorithm: its networks and the constants of its objectives.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// From observations to the policy's parameters.
    pub actor: Mlp,
    /// From `[observation, action]` to a value; every critic has this shape.
    pub critic: Mlp,
    /// How many critics there are.
    pub critics: usize,
    /// Discount factor.
    pub gamma: f64,
    /// Whether the policy is a squashed Gaussian; else it is `tanh` of the output.
    pub stochastic: bool,
    /// Whether targets act by the current policy, not by its average.
    pub current_policy: bool,
}

impl Spec {
    fn obs_dim(&self) -> usize {
        self.actor.inputs()
    }

    fn action_dim(&self) -> usize {
        self.critic.inputs() - self.actor.inputs()
    }

    /// Where the critic's inputs are actions.
    fn action_columns(&self) -> Range<usize> {
        self.actor.inputs()..self.critic.inputs()
    }

    /// Critic `block` with its part of `params`.
    fn critic_net<'a, T>(&'a self, block: usize, params: &'a [T]) -> Net<'a, T> {
        let dim = self.critic.dim();
        Net { shape: &self.critic, params: &params[block * dim..(block + 1) * dim] }
    }
}

/// The engine, with the work space of its games.
#[derive(Clone)]
pub struct Fused<T> {
    spec: Spec,
    threads: usize,
    space: Space<T>,
}

/// Work space for one size of batch.
#[derive(Clone, Default)]
struct Space<T> {
    samples: usize,
    shards: Vec<Shard<T>>,
    grams: Vec<GramRows<T>>,
    has_grams: bool,
    tops: Vec<Top<T>>,
}

impl<T: Scalar> Space<T> {
    fn new(spec: &Spec, samples: usize, threads: usize) -> Self {
        // Shards of equal size, but for rounding.
        let shards = threads.clamp(1, samples.max(1));
        let ranges = (0..shards).map(|i| samples * i / shards..samples * (i + 1) / shards);
        let widest = samples.div_ceil(shards);
        Self {
            samples,
            shards: ranges.clone().map(|range| Shard::new(spec, range)).collect(),
            grams: ranges.map(|range| GramRows::new(spec, range, widest)).collect(),
            has_grams: false,
            tops: vec![Top::default(); spec.critics],
        }
    }
}

impl<T: Scalar> Fused<T> {
    /// An engine for the algorithm that `spec` describes, on [`threads::count`] threads.
    pub fn new(spec: Spec) -> Self {
        Self { spec, threads: threads::count(), space: Space::default() }
    }

    /// The same with batches in `threads` parts, each computed by one thread. Results depend on their
    /// number in the last digits, and on nothing else.
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads, space: Space::default(), ..self }
    }
}

impl<T: Scalar> Engine<T> for Fused<T> {
    type Frozen<'a>
        = FusedGame<'a, T>
    where
        Self: 'a;

    fn freeze<'a>(&'a mut self, point: Point<'a, T>, leader: Role) -> Result<FusedGame<'a, T>> {
        let samples = point.batch.size;
        if self.space.samples != samples {
            self.space = Space::new(&self.spec, samples, self.threads);
        }
        self.space.shards.iter_mut().for_each(Shard::reset);
        self.space.tops.iter_mut().for_each(Top::reset);
        self.space.has_grams = false;
        Ok(FusedGame { spec: &self.spec, space: &mut self.space, point, leader })
    }
}

/// `f(i, item)` for every item, each on a thread of its own where there are several.
fn for_each<I: Send>(items: &mut [I], f: &(impl Fn(usize, &mut I) + Sync)) {
    fn split<I: Send>(first: usize, items: &mut [I], f: &(impl Fn(usize, &mut I) + Sync)) {
        match items {
            [] => {}
            [item] => f(first, item),
            items => {
                let middle = items.len() / 2;
                let (one, two) = items.split_at_mut(middle);
                threads::join(2, || split(first, one, f), || split(first + middle, two, f));
            }
        }
    }
    split(0, items, f);
}

/// A frozen game in closed form.
pub struct FusedGame<'a, T> {
    spec: &'a Spec,
    space: &'a mut Space<T>,
    point: Point<'a, T>,
    leader: Role,
}

impl<T: Scalar> FusedGame<'_, T> {
    fn role(&self, player: Player) -> Role {
        match player {
            Player::Leader => self.leader,
            Player::Follower => self.leader.opponent(),
        }
    }

    /// `scale / B`
    fn over_samples(&self, scale: f64) -> T {
        T::of(scale / self.space.samples as f64)
    }

    /// Runs `f` on every shard, each on a thread of its own.
    fn each(&mut self, f: impl Fn(&mut Shard<T>, &Spec, &Point<'_, T>) + Sync) {
        let (spec, point) = (self.spec, &self.point);
        for_each(&mut self.space.shards, &|_, shard| f(shard, spec, point));
    }

    /// `V(s)` up to `stage`. All shards are equally far, and those that are there are left asleep.
    fn reach_now(&mut self, stage: Stage) {
        if self.space.shards.iter().any(|shard| shard.now.stage() < stage) {
            self.each(|shard, spec, point| shard.reach_now(stage, spec, point));
        }
    }

    /// `q_bi - y_i`
    fn reach_residuals(&mut self) {
        if !self.space.shards.iter().all(Shard::has_residuals) {
            self.each(Shard::reach_residuals);
        }
    }

    /// The gradient of what was weighed in `pass(shard, block)`, a pass of `shape`.
    fn sum_gradient(
        &self,
        shape: &Mlp,
        pass: impl Fn(&Shard<T>, usize) -> &Pass<T> + Sync,
        out: &mut [T],
    ) {
        let shards = &self.space.shards;
        for_each_stretch(shards.len(), &shape.layers, out, &|mut stretch| {
            let block = stretch.block;
            stretch.gradient(shards.iter().map(|shard| pass(shard, block)));
        });
    }

    /// The tangent of that gradient, with tangents of inputs if there are.
    fn sum_gradient_tangent(
        &self,
        shape: &Mlp,
        pass: impl Fn(&Shard<T>, usize) -> &Pass<T> + Sync,
        inputs: bool,
        out: &mut [T],
    ) {
        let shards = &self.space.shards;
        for_each_stretch(shards.len(), &shape.layers, out, &|mut stretch| {
            let block = stretch.block;
            stretch.gradient_tangent(shards.iter().map(|shard| pass(shard, block)), inputs);
        });
    }

    /// `D_theta sum_bi u_bi y_i` for `u(shard, b, i)`; zero for targets that do not depend on theta.
    fn targets_vjp(&mut self, u: impl Fn(&Shard<T>, usize, usize) -> T + Sync, out: &mut [T]) {
        if !self.spec.current_policy {
            out.fill(T::zero());
            return;
        }
        self.each(|shard, spec, point| {
            shard.reach_next(Stage::Differentiated, spec, point);
            shard.weigh_next(spec, point, &u);
        });
        self.sum_gradient(&self.spec.actor, |shard, _| &shard.next.actor, out);
    }

    /// `D_ww f_critic v`
    fn critic_hvp(&mut self, v: &[T], out: &mut [T]) {
        let scale = self.over_samples(2.0);
        let (spec, point) = (self.spec, &self.point);
        let Space { shards, tops, .. } = &mut *self.space;
        let top = top::index(&spec.critic);
        let nets = |b| [spec.critic_net(b, point.critic), spec.critic_net(b, v)];
        for (b, layer) in tops.iter_mut().enumerate() {
            if let Some(h) = top {
                layer.mix(h, nets(b));
            }
        }
        for_each(shards, &|_, shard| shard.taken_hvp(spec, point, scale, v, tops));
        let (shards, threads) = (&*shards, shards.len());
        for (b, layer) in tops.iter_mut().enumerate() {
            if let Some(h) = top {
                layer.reach_constant(
                    threads,
                    &spec.critic.layers[h],
                    shards.iter().map(|s| &s.tops[b]),
                );
            }
        }
        for_each_stretch(threads, &spec.critic.layers, out, &|mut stretch| {
            let b = stretch.block;
            match top {
                Some(h) if h == stretch.l => {
                    let rows = shards.iter().map(|s| &s.tops[b]);
                    tops[b].gradient_tangent(nets(b), rows, stretch);
                }
                _ => stretch.gradient_tangent(shards.iter().map(|s| &s.taken[b]), false),
            }
        });
    }

    /// `D_theta,theta f_actor v`
    fn actor_hvp(&mut self, v: &[T], out: &mut [T]) {
        let scale = self.over_samples(-1.0);
        self.each(|shard, spec, point| shard.now_hvp(spec, point, scale, v));
        self.sum_gradient_tangent(&self.spec.actor, |shard, _| &shard.now.actor, false, out);
    }

    fn hvp(&mut self, role: Role, v: &[T], out: &mut [T]) {
        match role {
            Role::Actor => self.actor_hvp(v, out),
            Role::Critic => self.critic_hvp(v, out),
        }
    }
}

impl<T: Scalar> Game<T> for FusedGame<'_, T> {
    fn dim(&self, player: Player) -> usize {
        match self.role(player) {
            Role::Actor => self.point.actor.len(),
            Role::Critic => self.point.critic.len(),
        }
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [T]) -> Result<()> {
        let (minus, two) = (self.over_samples(-1.0), self.over_samples(2.0));
        match (self.role(of), self.role(wrt)) {
            // -(1/B) sum_i D_theta V(s_i)                                             (7)
            (Role::Actor, Role::Actor) => {
                self.each(|shard, spec, point| {
                    shard.reach_now(Stage::Differentiated, spec, point);
                    shard.weigh_now(minus);
                });
                self.sum_gradient(&self.spec.actor, |shard, _| &shard.now.actor, out);
            }
            // -(1/B) sum_i D_w min_b Q_b(s_i, pi(s_i))
            (Role::Actor, Role::Critic) => {
                self.each(|shard, spec, point| {
                    shard.reach_now(Stage::Criticised, spec, point);
                    shard.weigh_now_critics(minus);
                });
                self.sum_gradient(&self.spec.critic, |shard, b| &shard.now.critics[b], out);
            }
            // (2/B) sum_bi (q_bi - y_i) D_w q_bi                                       (8)
            (Role::Critic, Role::Critic) => {
                self.each(|shard, spec, point| {
                    shard.reach_taken(spec, point);
                    shard.weigh_taken(|shard, b, i| two * shard.residual(b, i));
                });
                self.sum_gradient(&self.spec.critic, |shard, b| &shard.taken[b], out);
            }
            // -(2/B) sum_bi (q_bi - y_i) D_theta y_i
            (Role::Critic, Role::Actor) => {
                self.reach_residuals();
                self.targets_vjp(|shard, b, i| -two * shard.residual(b, i), out);
            }
        }
        Ok(())
    }

    fn follower_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.hvp(self.role(Player::Follower), v, out);
        Ok(())
    }

    fn leader_hvp(&mut self, v: &[T], out: &mut [T]) -> Result<()> {
        self.hvp(self.role(Player::Leader), v, out);
        Ok(())
    }

    fn cross_vjp(&mut self, x: &[T], out: &mut [T]) -> Result<()> {
        match self.leader {
            // D_theta (D_w f_critic . x) = -(2/B) sum_bi (J x)_bi D_theta y_i
            Role::Actor => {
                let two = self.over_samples(2.0);
                self.each(|shard, spec, point| shard.jacobian(spec, point, x));
                self.targets_vjp(|shard, b, i| -two * shard.taken[b].output_t()[i], out);
            }
            // D_w (D_theta f_actor . x): the tangent of D_w f_actor along x
            Role::Critic => {
                let minus = self.over_samples(-1.0);
                self.each(|shard, spec, point| shard.now_critics_tangent(spec, point, minus, x));
                let shape = &self.spec.critic;
                self.sum_gradient_tangent(shape, |shard, b| &shard.now.critics[b], true, out);
            }
        }
        Ok(())
    }

    fn least_squares(&mut self) -> Option<&mut dyn LeastSquares<T>> {
        match self.leader {
            Role::Actor => Some(self),
            Role::Critic => None,
        }
    }
}

impl<T: Scalar> FrozenGame<T> for FusedGame<'_, T> {
    fn loss(&mut self, of: Role) -> Result<f64> {
        let samples = self.space.samples as f64;
        match of {
            Role::Actor => {
                self.reach_now(Stage::Valued);
                let values = self.space.shards.iter().flat_map(|s| &s.now.value);
                Ok(-values.map(|v| v.as_f64()).sum::<f64>() / samples)
            }
            Role::Critic => {
                self.reach_residuals();
                let residuals = self.space.shards.iter().flat_map(Shard::residuals);
                Ok(residuals.map(|r| r.as_f64().powi(2)).sum::<f64>() / samples)
            }
        }
    }

    fn policy_saturation(&mut self) -> Result<f64> {
        self.reach_now(Stage::Chosen);
        let actions = self.space.shards.iter().flat_map(|s| &s.now.policy.actions);
        let saturated = actions.filter(|a| a.as_f64().abs() > SATURATED).count();
        Ok(saturated as f64 / (self.space.samples * self.spec.action_dim()) as f64)
    }

    fn entropy(&mut self) -> Result<Option<f64>> {
        if !self.spec.stochastic {
            return Ok(None);
        }
        self.reach_now(Stage::Chosen);
        let log_probs = self.space.shards.iter().flat_map(|s| &s.now.policy.log_prob);
        Ok(Some(-log_probs.map(|l| l.as_f64()).sum::<f64>() / self.space.samples as f64))
    }
}
