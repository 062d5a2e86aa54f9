//! The paper's motivating examples (Section 3.2, Appendix A): one-step games of a few numbers, played with the
//! agents' own total derivative and solvers.
//!
//! The action earns `R(a) = -a^2/5`, the critic is `Q_w(a) = w a`, and the equilibrium is `theta = w = 0`.

mod deterministic;
mod entropic;

pub use deterministic::Deterministic;
pub use entropic::Entropic;

use crate::error::{Error, Result};
use crate::flat;
use crate::game::{Game, LeaderGradient, Player, Solver, SolverConfig, total_derivative};

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

    fn is_finite(&self) -> bool {
        [self.theta, self.sigma, self.w].iter().all(|x| x.is_finite())
    }
}

/// What the leader descends. The follower always descends its own gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Play {
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
    pub fallbacks: usize,
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
/// [`Error::Diverged`] if a parameter is no longer finite.
pub fn play(
    game: &mut dyn Toy,
    play: Play,
    learning_rate: f64,
    updates: u64,
) -> Result<Trajectory> {
    let mut gradients = Gradients::new(play, game);
    let mut trajectory = Trajectory { points: vec![game.point()], fallbacks: 0 };
    for update in 1..=updates {
        game.resample();
        trajectory.fallbacks += usize::from(gradients.compute(game)?);

        // theta <- theta - alpha D f1;  w <- w - alpha D2 f2
        let [leader, follower] = game.parameters();
        flat::axpy(-learning_rate, gradients.leader(), leader);
        flat::axpy(-learning_rate, &gradients.follower, follower);

        let point = game.point();
        if !point.is_finite() {
            return Err(Error::Diverged {
                what: "a parameter of the toy game",
                update,
                learning_rate,
            });
        }
        trajectory.points.push(point);
    }
    Ok(trajectory)
}

/// The vector field of `game` at the points `(theta, w)` of `grid`, each a mean over `draws` draws of samples. Whatever
/// other parameters there are stay as they are.
pub fn vector_field(
    game: &mut dyn Toy,
    play: Play,
    grid: impl IntoIterator<Item = (f64, f64)>,
    draws: u32,
) -> Result<Vec<Arrow>> {
    let mut gradients = Gradients::new(play, game);
    let arrow = |(theta, w)| {
        let [leader, follower] = game.parameters();
        leader[0] = theta;
        follower[0] = w;
        let (mut d_theta, mut d_w) = (0.0, 0.0);
        for _ in 0..draws {
            game.resample();
            gradients.compute(game)?;
            d_theta -= gradients.leader()[0] / f64::from(draws);
            d_w -= gradients.follower[0] / f64::from(draws);
        }
        Ok(Arrow { theta, w, d_theta, d_w })
    };
    grid.into_iter().map(arrow).collect()
}

/// Both players' gradients, and what it takes to compute them.
struct Gradients {
    play: Play,
    solver: Solver<f64>,
    leader: LeaderGradient<f64>,
    follower: Vec<f64>,
}

impl Gradients {
    fn new(play: Play, game: &dyn Toy) -> Self {
        Self {
            play,
            solver: Solver::new(&SolverConfig::default()),
            leader: LeaderGradient::new(game.dim(Player::Leader)),
            follower: vec![0.0; game.dim(Player::Follower)],
        }
    }

    /// Computes them where `game` is. Whether the leader had to fall back on its individual gradient.
    fn compute(&mut self, game: &mut dyn Toy) -> Result<bool> {
        game.gradient(Player::Follower, Player::Follower, &mut self.follower)?;
        match self.play {
            Play::Individual => {
                game.gradient(Player::Leader, Player::Leader, &mut self.leader.individual)?;
                Ok(false)
            }
            Play::Stackelberg { lambda } => {
                let (solver, out) = (&mut self.solver, &mut self.leader);
                Ok(total_derivative(game, solver, lambda, None, out)?.fallback)
            }
        }
    }

    fn leader(&self) -> &[f64] {
        match self.play {
            Play::Individual => &self.leader.individual,
            Play::Stackelberg { .. } => &self.leader.total,
        }
    }
}
