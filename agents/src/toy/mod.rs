//! The paper's motivating examples (Section 3.2, Appendix A): one-step games of a few numbers, played with the
//! agents' own total derivative and solvers.
//!
//! The action earns `R(a) = -a^2/5`, the critic is `Q_w(a) = w a`, and the equilibrium is `theta = w = 0`.

mod deterministic;
mod entropic;

pub use deterministic::Deterministic;
pub use entropic::Entropic;

use crate::error::Result;
use crate::game::{
    Arena, Damping, Direction, Game, ImplicitTerm, Play, PlayState, Player, Players, Rules,
    SolverConfig, UpdateOrder,
};
use crate::optim::OptimizerKind;
use crate::rng::{Purpose, Rng};
use crate::train_state::TrainState;

/// `R(a) = -REWARD a^2`
const REWARD: f64 = 1.0 / 5.0;

/// `(theta, w)` at the start.
pub const START: (f64, f64) = (-1.0, 1.0);

/// An example: a game whose point can move. The actor leads.
pub trait Toy: Game<f64> {
    /// Parameters of leader and follower; `theta` and `w` come first.
    fn parameters(&mut self) -> [&mut [f64]; 2];

    /// Where the players are.
    fn point(&self) -> Point;

    /// Draws anew the samples that gradients are estimated from.
    fn resample(&mut self) {}
}

/// The parameters of both players.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The actor's mean action, before the squashing where there is one.
    pub theta: f64,
    /// The actor's deviation; 0 if it is deterministic.
    pub sigma: f64,
    /// The critic's slope.
    pub w: f64,
}

impl Point {
    /// `sqrt(w^2 + theta^2)`, the distance to the equilibrium.
    pub fn error(&self) -> f64 {
        self.theta.hypot(self.w)
    }

    /// `R(theta)`
    pub fn reward(&self) -> f64 {
        -REWARD * self.theta * self.theta
    }
}

/// What the leader descends. The follower always descends its own gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Leading {
    /// `D1 f1`
    Individual,
    /// `D f1`, with damping `lambda`.
    Stackelberg {
        /// The damping of Section 4.5.
        lambda: f64,
    },
}

/// A play from its start on.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    /// The start, then the point after each update.
    pub points: Vec<Point>,
    /// Updates whose linear system had no solution, so that the leader took its individual gradient.
    pub fallbacks: u64,
}

impl Trajectory {
    /// How often `theta` changes its sign.
    pub fn crossings(&self) -> usize {
        let signs: Vec<f64> =
            self.points.iter().map(|p| p.theta).filter(|&x| x != 0.0).map(f64::signum).collect();
        signs.windows(2).filter(|pair| pair[0] != pair[1]).count()
    }
}

/// The direction in which the players move at one point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrow {
    /// Where.
    pub theta: f64,
    /// Where.
    pub w: f64,
    /// Minus the leader's gradient by `theta`.
    pub d_theta: f64,
    /// Minus the follower's gradient by `w`.
    pub d_w: f64,
}

/// Plays `game` for `updates` updates; both players step at once, from the same point.
///
/// # Errors
/// [`crate::Error::Diverged`] if a gradient or a parameter is no longer finite.
pub fn play(
    game: &mut dyn Toy,
    leading: Leading,
    learning_rate: f64,
    updates: u64,
) -> Result<Trajectory> {
    let mut play = play_of(leading, learning_rate, game);
    let (mut state, mut noise) = (PlayState::default(), no_noise());
    let mut players =
        game.parameters().map(|own| TrainState::new(own.to_vec(), OptimizerKind::Sgd, false));
    let mut points = vec![game.point()];
    for _ in 0..updates {
        let [leader, follower] = &mut players;
        let both = &mut Players { leader, follower };
        play.step(&mut Board(game), both, &mut state, &mut noise, 0)?;
        place(game, [&players[0], &players[1]]);
        points.push(game.point());
    }
    Ok(Trajectory { points, fallbacks: state.fallbacks })
}

/// The vector field of `game` at the points `(theta, w)` of `grid`, each a mean over `draws` draws of samples. Whatever
/// other parameters there are stay as they are.
pub fn vector_field(
    game: &mut dyn Toy,
    leading: Leading,
    grid: impl IntoIterator<Item = (f64, f64)>,
    draws: u32,
) -> Result<Vec<Arrow>> {
    let mut play = play_of(leading, 0.0, game);
    let arrow = |(theta, w)| {
        let [leader, follower] = game.parameters();
        leader[0] = theta;
        follower[0] = w;
        let (mut d_theta, mut d_w) = (0.0, 0.0);
        for _ in 0..draws {
            game.resample();
            play.follower_gradient(&mut &mut *game)?;
            let state = &mut PlayState::default();
            play.leader_gradient(&mut &mut *game, state, &mut no_noise(), 0)?;
            d_theta -= play.leader().total[0] / f64::from(draws);
            d_w -= play.follower()[0] / f64::from(draws);
        }
        Ok(Arrow { theta, w, d_theta, d_w })
    };
    grid.into_iter().map(arrow).collect()
}

/// The paper's play: simultaneous steps of plain gradient descent.
fn play_of(leading: Leading, learning_rate: f64, game: &dyn Toy) -> Play<f64> {
    let (direction, lambda) = match leading {
        Leading::Individual => (Direction::Individual, 0.0),
        Leading::Stackelberg { lambda } => (Direction::Total, lambda),
    };
    let rules = Rules {
        direction,
        order: UpdateOrder::Simultaneous,
        learning_rates: [learning_rate; 2],
        every: [1; 2],
        unroll: 1,
        norm_ratio_clamp: None,
        damping: Damping::constant(lambda),
        averaging: None,
    };
    let implicit_term = ImplicitTerm::new(&SolverConfig::default());
    Play::new(
        rules,
        implicit_term,
        [Player::Leader, Player::Follower].map(|player| game.dim(player)),
    )
}

/// Toys have no control by noise.
fn no_noise() -> Rng {
    Rng::new(0, Purpose::Policy)
}

/// Puts the players' parameters where `game` has its own.
fn place(game: &mut dyn Toy, players: [&TrainState<f64>; 2]) {
    for (own, player) in game.parameters().into_iter().zip(players) {
        own.copy_from_slice(&player.params);
    }
}

/// A toy game as an arena: its own parameters are the point it is frozen at.
struct Board<'t>(&'t mut dyn Toy);

impl<'t> Arena<f64> for Board<'t> {
    type Game<'a>
        = &'a mut dyn Toy
    where
        Self: 'a;
    type Readings = ();

    fn freeze<'a>(&'a mut self, players: [&'a TrainState<f64>; 2]) -> Result<&'a mut dyn Toy> {
        place(self.0, players);
        self.0.resample();
        Ok(self.0)
    }

    fn read(_game: &mut &mut dyn Toy) -> Result<()> {
        Ok(())
    }
}
