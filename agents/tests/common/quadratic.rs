//! Games whose every derivative is a matrix.

use agents::error::Result;
use agents::game::{Game, ImplicitTerm, LeaderGradient, Player, SolveInfo, total_derivative};
use agents::rng::{Purpose, Rng};
use faer::Mat;

/// ```text
/// f1 = 1/2 x1'P x1 + x1'B x2 + 1/2 x2'D x2 + p'x1 + q'x2
/// f2 = 1/2 x2'A x2 + x2'C x1 + a'x2
/// ```
/// at the point `(x1, x2)`.
#[derive(Clone)]
pub struct Quadratic {
    pub p_matrix: Mat<f64>,
    pub b_matrix: Mat<f64>,
    pub d_matrix: Mat<f64>,
    pub a_matrix: Mat<f64>,
    pub c_matrix: Mat<f64>,
    pub p: Vec<f64>,
    pub q: Vec<f64>,
    pub a: Vec<f64>,
    pub x1: Vec<f64>,
    pub x2: Vec<f64>,
}

impl Quadratic {
    /// Random matrices, `A` positive definite, at a random point.
    pub fn random(seed: u64, leader: usize, follower: usize) -> Self {
        let mut rng = Rng::new(seed, Purpose::Diagnostics);
        let mut matrix = |m: usize, n: usize| Mat::from_fn(m, n, |_, _| rng.normal::<f64>());
        let symmetric = |m: Mat<f64>| &m + m.transpose();
        Self {
            p_matrix: symmetric(matrix(leader, leader)),
            b_matrix: matrix(leader, follower),
            d_matrix: symmetric(matrix(follower, follower)),
            a_matrix: {
                let root = matrix(follower, follower);
                &root * root.transpose() + Mat::<f64>::identity(follower, follower)
            },
            c_matrix: matrix(follower, leader),
            p: column(&matrix(leader, 1)),
            q: column(&matrix(follower, 1)),
            a: column(&matrix(follower, 1)),
            x1: column(&matrix(leader, 1)),
            x2: column(&matrix(follower, 1)),
        }
    }

    /// The game whose implicit term is the solution of `(A + lambda I) x = b` itself: `C = I`, and
    /// `b = D2 f1` everywhere.
    pub fn system(a: Mat<f64>, b: &[f64]) -> Self {
        let n = b.len();
        let zeros = Mat::zeros(n, n);
        Self {
            p_matrix: zeros.clone(),
            b_matrix: zeros.clone(),
            d_matrix: zeros,
            a_matrix: a,
            c_matrix: Mat::identity(n, n),
            p: vec![1.0; n],
            q: b.to_vec(),
            a: vec![0.0; n],
            x1: vec![0.0; n],
            x2: vec![0.0; n],
        }
    }

    pub fn leader_loss(&self, x1: &[f64], x2: &[f64]) -> f64 {
        0.5 * dot(x1, &times(&self.p_matrix, x1))
            + dot(x1, &times(&self.b_matrix, x2))
            + 0.5 * dot(x2, &times(&self.d_matrix, x2))
            + dot(&self.p, x1)
            + dot(&self.q, x2)
    }

    /// `argmin_x2 f2(x1, x2) = -A^-1 (C x1 + a)`
    pub fn best_response(&self, x1: &[f64]) -> Vec<f64> {
        let rhs = sum(&times(&self.c_matrix, x1), &self.a);
        solve(&self.a_matrix, &rhs).iter().map(|x| -x).collect()
    }
}

impl Game<f64> for Quadratic {
    fn dim(&self, player: Player) -> usize {
        match player {
            Player::Leader => self.x1.len(),
            Player::Follower => self.x2.len(),
        }
    }

    fn gradient(&mut self, of: Player, wrt: Player, out: &mut [f64]) -> Result<()> {
        let (x1, x2) = (&self.x1, &self.x2);
        out.copy_from_slice(&match (of, wrt) {
            (Player::Leader, Player::Leader) => {
                sum(&sum(&times(&self.p_matrix, x1), &times(&self.b_matrix, x2)), &self.p)
            }
            (Player::Leader, Player::Follower) => {
                sum(&sum(&times_t(&self.b_matrix, x1), &times(&self.d_matrix, x2)), &self.q)
            }
            (Player::Follower, Player::Leader) => times_t(&self.c_matrix, x2),
            (Player::Follower, Player::Follower) => {
                sum(&sum(&times(&self.a_matrix, x2), &times(&self.c_matrix, x1)), &self.a)
            }
        });
        Ok(())
    }

    fn follower_hvp(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(&times(&self.a_matrix, v));
        Ok(())
    }

    fn cross_vjp(&mut self, x: &[f64], out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(&times_t(&self.c_matrix, x));
        Ok(())
    }

    fn leader_hvp(&mut self, v: &[f64], out: &mut [f64]) -> Result<()> {
        out.copy_from_slice(&times(&self.p_matrix, v));
        Ok(())
    }

    fn objective(&mut self, of: Player) -> Result<f64> {
        let (x1, x2) = (self.x1.clone(), self.x2.clone());
        Ok(match of {
            Player::Leader => self.leader_loss(&x1, &x2),
            Player::Follower => {
                let linear = sum(&times(&self.c_matrix, &x1), &self.a);
                0.5 * dot(&x2, &times(&self.a_matrix, &x2)) + dot(&x2, &linear)
            }
        })
    }
}

/// The total derivative of `game`, its implicit term by `implicit_term`.
pub fn led(
    game: &mut dyn Game<f64>,
    implicit_term: &mut ImplicitTerm<f64>,
    lambda: f64,
) -> (LeaderGradient<f64>, SolveInfo) {
    let mut out = LeaderGradient::new(game.dim(Player::Leader));
    let solve = total_derivative(game, implicit_term, lambda, None, &mut out).unwrap();
    (out, solve)
}

/// A symmetric matrix with these eigenvalues and random eigenvectors.
pub fn with_spectrum(seed: u64, eigenvalues: &[f64]) -> Mat<f64> {
    let n = eigenvalues.len();
    let mut rng = Rng::new(seed, Purpose::Actor);
    let gaussian = Mat::<f64>::from_fn(n, n, |_, _| rng.normal());
    let q = gaussian.qr().compute_thin_Q();
    let scaled = Mat::from_fn(n, n, |i, j| q[(i, j)] * eigenvalues[j]);
    let a = scaled * q.transpose();
    (&a + a.transpose()) * 0.5
}

pub fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut rng = Rng::new(seed, Purpose::Critic);
    (0..n).map(|_| rng.normal()).collect()
}

/// `A^-1 b` by faer.
pub fn solve(a: &Mat<f64>, b: &[f64]) -> Vec<f64> {
    use faer::linalg::solvers::Solve as _;
    column(&a.partial_piv_lu().solve(Mat::from_fn(b.len(), 1, |i, _| b[i])))
}

pub fn damped(a: &Mat<f64>, lambda: f64) -> Mat<f64> {
    a + Mat::<f64>::identity(a.nrows(), a.nrows()) * lambda
}

pub fn times(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    (0..a.nrows()).map(|i| (0..a.ncols()).map(|j| a[(i, j)] * x[j]).sum()).collect()
}

pub fn times_t(a: &Mat<f64>, x: &[f64]) -> Vec<f64> {
    (0..a.ncols()).map(|j| (0..a.nrows()).map(|i| a[(i, j)] * x[i]).sum()).collect()
}

pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

fn column(m: &Mat<f64>) -> Vec<f64> {
    (0..m.nrows()).map(|i| m[(i, 0)]).collect()
}
