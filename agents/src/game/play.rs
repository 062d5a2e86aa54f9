//! How the players move: Algorithms 1 and 2.
//!
//! ```text
//! x1 <- x1 - alpha1 g1,    g1 = D f1(x1, x2)                  (11), (14)    the leader
//! x2 <- x2 - alpha2 g2,    g2 = D2 f2(x1, x2)                 (12)          the follower
//! g1 = D1 f1(x1, x2)                                          (5), (13)     where nobody leads
//! ```

use super::leader::Damping;
use super::solvers::{ImplicitTerm, SolveInfo};
use super::total_derivative::{LeaderGradient, Norms, total_derivative};
use super::{Game, Player};
use crate::error::{Error, Result};
use crate::flat::{self, Scalar};
use crate::rng::Rng;
use crate::threads;
use crate::train_state::{NotFinite, TrainState};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// In which order the players step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UpdateOrder {
    /// Both gradients at the same parameters, then both steps, (11)-(14).
    Simultaneous,
    /// The follower steps first (the critic, in the baselines); the leader sees the result.
    Sequential,
}

/// What the leader descends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// `D1 f1`: nobody leads.
    Individual,
    /// `D f1`
    Total,
    /// `D1 f1` at the length of `D f1`: the control that is equal in length.
    Matched,
    /// `D1 f1` less the implicit term with random signs: the control whose term is noise of equal norm.
    Noise,
}

/// When and how far the Polyak averages follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Averaging {
    /// Weight of the new parameters.
    pub tau: f64,
    /// How many updates in which both step make one average: the first of each so many.
    pub every: u64,
}

/// The rules of a play.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    /// What the leader descends.
    pub direction: Direction,
    /// Who steps first.
    pub order: UpdateOrder,
    /// Step sizes of leader and follower, `alpha1` and `alpha2`.
    pub learning_rates: [f64; 2],
    /// Leader and follower step in every so-manieth update, the last of each so many; one of the two is a multiple of
    /// the other.
    pub every: [u64; 2],
    /// Follower steps per update, `m`.
    pub unroll: u64,
    /// Bound of the implicit term's norm, in units of the individual gradient's.
    pub norm_ratio_clamp: Option<f64>,
    /// Lambda over the course of the play.
    pub damping: Damping,
    /// Of both players' parameters.
    pub averaging: Option<Averaging>,
}

/// Freezes the game where the players stand.
pub trait Arena<T: Scalar> {
    /// The game at one point.
    type Game<'a>: Game<T>
    where
        Self: 'a;

    /// What else is to be known of a game.
    type Readings;

    /// The game at these parameters of leader and follower.
    fn freeze<'a>(&'a mut self, players: [&'a TrainState<T>; 2]) -> Result<Self::Game<'a>>;

    /// The follower's side of it, which may be cheaper.
    fn freeze_follower<'a>(
        &'a mut self,
        players: [&'a TrainState<T>; 2],
    ) -> Result<Self::Game<'a>> {
        self.freeze(players)
    }

    /// Reads a game whose gradients are taken.
    fn read(game: &mut Self::Game<'_>) -> Result<Self::Readings>;
}

/// Who plays.
pub struct Players<'p, T> {
    /// `x1`
    pub leader: &'p mut TrainState<T>,
    /// `x2`
    pub follower: &'p mut TrainState<T>,
}

impl<T> Players<'_, T> {
    fn both(&self) -> [&TrainState<T>; 2] {
        [&*self.leader, &*self.follower]
    }
}

/// What a play remembers from one update to the next.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlayState<T> {
    /// Updates so far.
    pub updates: u64,
    /// What an adaptive damping has come to, in units of its start.
    pub damping: f64,
    /// Solves that failed.
    pub fallbacks: u64,
    /// The last solution of the implicit term.
    pub solution: Vec<T>,
}

impl<T> Default for PlayState<T> {
    fn default() -> Self {
        Self { updates: 0, damping: 1.0, fallbacks: 0, solution: Vec::new() }
    }
}

/// How an update went.
#[derive(Clone, Debug)]
pub struct Report<R> {
    /// `f1` and `f2` where their gradients were taken; none of one that did not step.
    pub losses: [Option<f64>; 2],
    /// Norms of the gradients, if the leader stepped; NaN of a follower that did not.
    pub norms: Option<Norms>,
    /// The solve behind the total derivative.
    pub solve: Option<SolveInfo>,
    /// Of the game in which the leader's gradient was taken, if it was frozen.
    pub readings: Option<R>,
}

/// A play: its rules, and the work space for both gradients.
pub struct Play<T> {
    /// The rules.
    pub rules: Rules,
    implicit_term: ImplicitTerm<T>,
    leader: LeaderGradient<T>,
    follower: Vec<T>,
}

impl<T: Scalar> Play<T> {
    /// For players of these dimensions.
    pub fn new(
        rules: Rules,
        implicit_term: ImplicitTerm<T>,
        [leader, follower]: [usize; 2],
    ) -> Self {
        let follower = vec![T::zero(); follower];
        Self { rules, implicit_term, leader: LeaderGradient::new(leader), follower }
    }

    /// The leader's gradient as last computed.
    pub fn leader(&self) -> &LeaderGradient<T> {
        &self.leader
    }

    /// The follower's gradient as last computed.
    pub fn follower(&self) -> &[T] {
        &self.follower
    }

    /// `g2 = D2 f2`; returns its norm.
    pub fn follower_gradient(&mut self, game: &mut dyn Game<T>) -> Result<T> {
        game.gradient(Player::Follower, Player::Follower, &mut self.follower)?;
        Ok(flat::norm(&self.follower))
    }

    /// `g1`, in the direction that the rules say, after `t` environment steps; `noise` is for [`Direction::Noise`].
    pub fn leader_gradient(
        &mut self,
        game: &mut dyn Game<T>,
        state: &mut PlayState<T>,
        noise: &mut Rng,
        t: u64,
    ) -> Result<Option<SolveInfo>> {
        let Self { rules, implicit_term, leader, .. } = self;
        if rules.direction == Direction::Individual {
            game.gradient(Player::Leader, Player::Leader, &mut leader.total)?;
            leader.without_leader();
            return Ok(None);
        }
        let lam = T::of(rules.damping.lambda(t, state.damping));
        let clamp = rules.norm_ratio_clamp.map(T::of);
        implicit_term.swap_solution(&mut state.solution);
        let solve = total_derivative(game, implicit_term, lam, clamp, leader);
        implicit_term.swap_solution(&mut state.solution);
        match rules.direction {
            Direction::Matched => leader.match_norm(),
            Direction::Noise => leader.randomise_term(noise),
            Direction::Individual | Direction::Total => {}
        }
        solve.map(Some)
    }

    /// One update: a leader step and `m` follower steps, each unless it leaves the finite numbers.
    ///
    /// # Errors
    /// [`Error::Diverged`] if it does; the players are then where their last finite step brought them.
    pub fn step<A: Arena<T>>(
        &mut self,
        arena: &mut A,
        players: &mut Players<'_, T>,
        state: &mut PlayState<T>,
        noise: &mut Rng,
        t: u64,
    ) -> Result<Report<A::Readings>> {
        let Rules { order, unroll, .. } = self.rules;
        let [leader_rate, follower_rate] = self.rules.learning_rates;
        let [leads, follows] =
            self.rules.every.map(|every| (state.updates + 1).is_multiple_of(every));
        let first = follows && order == UpdateOrder::Sequential;
        // The larger step is the likelier cause, whoever notices first.
        let (update, learning_rate) = (state.updates, leader_rate.max(follower_rate));
        let diverged = |what| move |NotFinite| Error::Diverged { what, update, learning_rate };
        let threads = threads::count();
        let mut losses = [None; 2];
        let (mut follower_norm, mut solve, mut readings) = (None, None, None);

        // g2 = D2 f2(x1, x2);  x2 <- x2 - alpha2 g2
        if first {
            let mut game = arena.freeze_follower(players.both())?;
            let norm = self.follower_gradient(&mut game)?;
            losses[1] = Some(game.objective(Player::Follower)?);
            drop(game);
            let stepped = players.follower.step(follower_rate, &self.follower, norm, None, threads);
            stepped.map_err(diverged(A_GRADIENT))?;
            follower_norm = Some(norm);
        }
        if leads || !first {
            let mut game = arena.freeze(players.both())?;
            // g2 = D2 f2(x1, x2)
            if follows && !first {
                follower_norm = Some(self.follower_gradient(&mut game)?);
                losses[1] = Some(game.objective(Player::Follower)?);
            }
            // g1 = D f1(x1, x2)
            if leads {
                solve = self.leader_gradient(&mut game, state, noise, t)?;
                losses[0] = Some(game.objective(Player::Leader)?);
            }
            readings = Some(A::read(&mut game)?);
        }
        let leader_norm = self.leader.norms.total;
        let finite = |norm: Option<T>| norm.is_none_or(T::is_finite);
        if !finite(leads.then_some(leader_norm)) || !finite(follower_norm) {
            return Err(diverged(A_GRADIENT)(NotFinite));
        }

        // x1 <- x1 - alpha1 g1;  x2 <- x2 - alpha2 g2; averages with the last steps
        // Updates before this one in which both stepped.
        let joint = state.updates / self.rules.every.into_iter().max().unwrap_or(1);
        let averaging = self
            .rules
            .averaging
            .filter(|averaging| leads && follows && joint.is_multiple_of(averaging.every));
        let tau = averaging.map(|averaging| T::of(averaging.tau));
        let last = tau.filter(|_| unroll == 1);
        let Players { leader, follower } = players;
        let mut stepped = [Ok(()); 2];
        let [leader_stepped, follower_stepped] = &mut stepped;
        threads::join(
            threads,
            || {
                if leads {
                    *leader_stepped =
                        leader.step(leader_rate, &self.leader.total, leader_norm, last, threads);
                }
            },
            || match follower_norm {
                Some(norm) if !first => {
                    *follower_stepped =
                        follower.step(follower_rate, &self.follower, norm, last, threads);
                }
                _ => last.into_iter().for_each(|tau| follower.average(tau)),
            },
        );
        for stepped in stepped {
            stepped.map_err(diverged(A_PARAMETER))?;
        }
        // x2 <- x2 - alpha2 D2 f2(x1, x2), m - 1 times
        for _ in 1..if follows { unroll } else { 1 } {
            let mut game = arena.freeze_follower(players.both())?;
            let norm = self.follower_gradient(&mut game)?;
            drop(game);
            let stepped = players.follower.step(follower_rate, &self.follower, norm, None, threads);
            stepped.map_err(diverged(A_GRADIENT))?;
        }
        if let (Some(tau), None) = (tau, last) {
            [&mut players.leader, &mut players.follower].into_iter().for_each(|p| p.average(tau));
        }

        let follower_norm = follower_norm.unwrap_or_else(T::nan);
        let norms = leads.then(|| Norms::new(self.leader.norms, follower_norm));
        if let (Some(solve), Some(norms)) = (&solve, &norms) {
            state.damping = Damping::adapted(state.damping, solve, norms);
        }
        state.fallbacks += u64::from(solve.is_some_and(|solve| solve.fallback));
        state.updates += 1;
        Ok(Report { losses, norms, solve, readings })
    }
}

/// What may stop being finite.
const A_GRADIENT: &str = "a gradient";
const A_PARAMETER: &str = "a parameter";
