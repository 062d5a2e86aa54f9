//! The leader's total derivative.

use super::{Game, Player, Solve, Solver};
use crate::error::Result;
use crate::flat::{self, Scalar};

/// The leader's gradient and its parts; all of the leader's dimension.
#[derive(Clone, Debug)]
pub struct LeaderGradient<T> {
    /// `D1 f1`, the individual gradient.
    pub individual: Vec<T>,
    /// `D12 f2 (D22 f2 + lambda I)^-1 D2 f1`, the implicit term.
    pub implicit: Vec<T>,
    /// Their difference, which the leader descends.
    pub total: Vec<T>,
}

impl<T: Scalar> LeaderGradient<T> {
    /// Zeros of dimension `dim`.
    pub fn new(dim: usize) -> Self {
        let zeros = vec![T::zero(); dim];
        Self { individual: zeros.clone(), implicit: zeros.clone(), total: zeros }
    }
}

/// Computes, with damping `lambda` as in Section 4.5,
///
/// ```text
/// D f1 = D1 f1 - D12 f2 (D22 f2 + lambda I)^-1 D2 f1                     (15), (16)
/// ```
///
/// `norm_ratio_clamp` bounds `|implicit| / |individual|`. A solve that fails or is not finite never
/// reaches the caller: the implicit term is then zero and [`Solve::fallback`] is set.
pub fn total_derivative<T: Scalar>(
    game: &mut dyn Game<T>,
    solver: &mut Solver<T>,
    lambda: T,
    norm_ratio_clamp: Option<T>,
    out: &mut LeaderGradient<T>,
) -> Result<Solve> {
    let LeaderGradient { individual, implicit, total } = out;

    // D1 f1
    game.gradient(Player::Leader, Player::Leader, individual)?;

    // x = (D22 f2 + lambda I)^-1 D2 f1;  implicit = D12 f2 x
    let mut solve = solver.implicit_term(game, lambda, implicit)?;
    if !flat::all_finite(implicit) {
        solve.fallback = true;
    }
    if solve.fallback {
        implicit.fill(T::zero());
    }
    if let Some(clamp) = norm_ratio_clamp {
        let bound = clamp * flat::norm(individual);
        let norm = flat::norm(implicit);
        if norm > bound {
            flat::scale(bound / norm, implicit);
        }
    }

    // D f1 = D1 f1 - implicit
    for ((total, &d1), &implicit) in total.iter_mut().zip(&*individual).zip(&*implicit) {
        *total = d1 - implicit;
    }
    Ok(solve)
}
