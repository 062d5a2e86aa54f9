//! Extreme eigenvalues of a symmetric matrix that is known by its products alone: Lanczos (1950)
//! with full reorthogonalisation, without which converged eigenvalues come back as ghosts.

use super::operator::Operator;
use super::{Game, Player};
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::rng::Rng;
use faer::{Mat, Side};

/// Both ends of a spectrum.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Extremes {
    /// Smallest Ritz value: never below the smallest eigenvalue, up to rounding.
    pub min: f64,
    /// Largest Ritz value: never above the largest eigenvalue, up to rounding.
    pub max: f64,
    /// Some eigenvalue lies this close to `min`, and one this close to `max`.
    pub errors: [f64; 2],
    /// `|A V - V T|`: how much of `A` the iteration has not seen. `max + remainder` bounds the
    /// spectrum in practice (Zhou & Li, 2011).
    pub remainder: f64,
    /// Products with `A`.
    pub iterations: usize,
}

/// The extreme eigenvalues of a player's own Hessian, `D11 f1` or `D22 f2`, from a random start.
pub fn hessian_extremes<T: Scalar>(
    game: &mut dyn Game<T>,
    of: Player,
    rng: &mut Rng,
    iterations: usize,
    tolerance: f64,
) -> Result<Extremes> {
    let start: Vec<T> = (0..game.dim(of)).map(|_| rng.normal()).collect();
    let mut product = |v: &[T], out: &mut [T]| match of {
        Player::Leader => game.leader_hvp(v, out),
        Player::Follower => game.follower_hvp(v, out),
    };
    extremes(&mut product, &start, iterations, tolerance)
}

/// The extreme eigenvalues of `a` as seen from `start`, after `iterations` steps or as soon as
/// each has a share of error of at most `tolerance`: a small end beside a large one is as accurate. A random start
/// has a share in every eigenvector; from any other, only the eigenvalues of the invariant subspace
/// it lies in are found. All NaN if a product is not finite; all zero if `start` is.
pub fn extremes<T: Scalar>(
    a: &mut Operator<'_, T>,
    start: &[T],
    iterations: usize,
    tolerance: f64,
) -> Result<Extremes> {
    let mut found =
        Extremes { min: 0.0, max: 0.0, errors: [0.0; 2], remainder: 0.0, iterations: 0 };
    // What is left when all has been seen is the rounding of the products, of order sqrt(n) epsilon.
    let rounding = 4.0 * T::epsilon().as_f64() * (start.len() as f64).sqrt();
    let (mut alphas, mut betas) = (Vec::new(), Vec::new());
    let mut basis: Vec<Vec<T>> = Vec::new();
    let mut w = start.to_vec();
    let mut beta = flat::norm(&w);

    while found.iterations < iterations.min(start.len()) && beta > T::zero() {
        // v_k = w / beta;  w = A v_k
        let v: Vec<T> = w.iter().map(|&w| w / beta).collect();
        a(&v, &mut w)?;
        basis.push(v);

        // w -= V V'w, twice: once leaves rounding of the size of what is subtracted.
        let mut alpha = T::zero();
        for _ in 0..2 {
            for (k, v) in basis.iter().enumerate() {
                let share = flat::dot(v, &w);
                flat::axpy(-share, v, &mut w);
                if k + 1 == basis.len() {
                    alpha += share;
                }
            }
        }
        beta = flat::norm(&w);
        alphas.push(alpha.as_f64());
        betas.push(beta.as_f64());
        found = ritz(&alphas, &betas);

        let (min, max) = (found.min.abs(), found.max.abs());
        let converged = found.errors[0] <= tolerance * min && found.errors[1] <= tolerance * max;
        let exhausted = found.remainder <= rounding * min.max(max);
        if !flat::all_finite(&found.errors) || converged || exhausted {
            break;
        }
    }
    Ok(found)
}

/// The extreme eigenvalues of the tridiagonal matrix `T` with diagonal `alphas` and off-diagonal
/// `betas`, of which the last is the remainder. A Ritz pair `T s = theta s` has the residual
/// `|A V s - theta V s| = remainder |s_k|`, and `A` an eigenvalue within it.
fn ritz(alphas: &[f64], betas: &[f64]) -> Extremes {
    let k = alphas.len();
    let remainder = betas[k - 1];
    let nan =
        Extremes { min: f64::NAN, max: f64::NAN, errors: [f64::NAN; 2], remainder, iterations: k };
    if !(flat::all_finite(alphas) && flat::all_finite(betas)) {
        return nan;
    }
    let mut t = Mat::<f64>::zeros(k, k);
    for (i, &alpha) in alphas.iter().enumerate() {
        t[(i, i)] = alpha;
        if i + 1 < k {
            t[(i + 1, i)] = betas[i];
        }
    }
    let Ok(eigen) = t.self_adjoint_eigen(Side::Lower) else { return nan };
    let (values, vectors) = (eigen.S().column_vector(), eigen.U());
    let last = |j: usize| remainder * vectors[(k - 1, j)].abs();
    Extremes {
        min: values[0],
        max: values[k - 1],
        errors: [last(0), last(k - 1)],
        remainder,
        iterations: k,
    }
}
