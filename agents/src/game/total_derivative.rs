//! The leader's total derivative.

use super::{Game, ImplicitTerm, Player, SolveInfo};
use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::rng::Rng;

/// The leader's gradient and its parts; all of the leader's dimension.
#[derive(Clone, Debug)]
pub struct LeaderGradient<T> {
    /// `D1 f1`, the individual gradient.
    pub individual: Vec<T>,
    /// `D12 f2 (D22 f2 + lambda I)^-1 D2 f1`, the implicit term.
    pub implicit: Vec<T>,
    /// Their difference, which the leader descends.
    pub total: Vec<T>,
    /// Taken when `total` was last written.
    pub norms: LeaderNorms<T>,
}

/// Norms of a leader's gradient and of its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LeaderNorms<T> {
    /// `|D1 f1|`
    pub individual: T,
    /// Of the implicit term.
    pub implicit: T,
    /// `|D f1|`
    pub total: T,
    /// Cosine of the angle between `D1 f1` and `D f1`; 0 if either is zero.
    pub cosine: T,
}

impl<T: Scalar> LeaderGradient<T> {
    /// Zeros of dimension `dim`.
    pub fn new(dim: usize) -> Self {
        let zeros = vec![T::zero(); dim];
        let norms = LeaderNorms::default();
        Self { individual: zeros.clone(), implicit: zeros.clone(), total: zeros, norms }
    }

    /// Takes `total` for the whole: there is no leader.
    pub fn without_leader(&mut self) {
        let norm = flat::norm(&self.total);
        self.norms = LeaderNorms {
            individual: norm,
            total: norm,
            cosine: T::one(),
            ..LeaderNorms::default()
        };
    }

    /// The control of a leader: the individual gradient at the length of the total derivative.
    pub fn match_norm(&mut self) {
        let Self { individual, total, norms, .. } = self;
        total.copy_from_slice(individual);
        if norms.individual > T::zero() {
            flat::scale(norms.total / norms.individual, total);
            norms.cosine = T::one();
        } else {
            norms.total = T::zero();
        }
    }

    /// The control by noise: the implicit term with a random sign for each coordinate. Its norm stays, and so does each
    /// coordinate's size, which is what Adam divides by; its direction says nothing.
    pub fn randomise_term(&mut self, noise: &mut Rng) {
        let Self { implicit, total, .. } = self;
        noise.signs(total);
        implicit.iter_mut().zip(total).for_each(|(term, sign)| *term *= *sign);
        self.subtract();
    }

    /// Writes `total` and, in the same pass over the three vectors, what `norms` takes.
    pub fn subtract(&mut self) {
        // D f1 = D1 f1 - implicit
        let Self { individual, implicit, total, .. } = self;
        let sums = flat::write_dots(total, [individual, implicit], |[d1, implicit]| {
            let total = d1 - implicit;
            (total, [d1 * d1, implicit * implicit, total * total, d1 * total])
        });
        let [individual, implicit, total, product] = sums;
        let [individual, implicit, total] = [individual, implicit, total].map(T::sqrt);
        let length = individual * total;
        let cosine = if length > T::zero() { product / length } else { T::zero() };
        self.norms = LeaderNorms { individual, implicit, total, cosine };
    }
}

/// Norms of an update's gradients.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norms {
    /// `|D1 f1|`
    pub individual: f64,
    /// Of the implicit term.
    pub implicit: f64,
    /// `|D f1|`
    pub leader: f64,
    /// `|D2 f2|`
    pub follower: f64,
    /// Cosine of the angle between `D1 f1` and `D f1`.
    pub cosine: f64,
}

impl Norms {
    /// From the leader's, and the follower's.
    pub fn new<T: Scalar>(leader: LeaderNorms<T>, follower: T) -> Self {
        let LeaderNorms { individual, implicit, total, cosine } = leader;
        let [individual, implicit, leader] = [individual, implicit, total].map(T::as_f64);
        Self { individual, implicit, leader, follower: follower.as_f64(), cosine: cosine.as_f64() }
    }

    /// `|implicit| / |individual|`; 0 where a saturated policy makes both vanish.
    pub fn ratio(&self) -> f64 {
        if self.implicit == 0.0 { 0.0 } else { self.implicit / self.individual }
    }
}

/// Computes, with damping `lambda` as in Section 4.5, which is `lam` in the unit of the solver's settings,
///
/// ```text
/// D f1 = D1 f1 - D12 f2 (D22 f2 + lambda I)^-1 D2 f1                     (15), (16)
/// ```
///
/// `norm_ratio_clamp` bounds `|implicit| / |individual|`. A solve that fails or is not finite never
/// reaches the caller: the implicit term is then zero and [`SolveInfo::fallback`] is set.
pub fn total_derivative<T: Scalar>(
    game: &mut dyn Game<T>,
    implicit_term: &mut ImplicitTerm<T>,
    lam: T,
    norm_ratio_clamp: Option<T>,
    out: &mut LeaderGradient<T>,
) -> Result<SolveInfo> {
    // D1 f1
    game.gradient(Player::Leader, Player::Leader, &mut out.individual)?;

    let mut solve = if game.has_implicit_term() {
        let space = implicit_term.space(game)?;
        // b = D2 f1
        space.response(game, implicit_term.right_hand_side())?;
        // x = (D22 f2 + lambda I)^-1 b
        let solve = implicit_term.solve(game, space, lam)?;
        // D12 f2 x
        if !solve.fallback {
            space.cross(game, implicit_term.solution(), &mut out.implicit)?;
        }
        solve
    } else {
        let (residual, lambda) = (f64::NAN, f64::NAN);
        SolveInfo { fallback: true, residual, lambda, ..SolveInfo::default() }
    };
    if solve.fallback {
        out.implicit.fill(T::zero());
    }
    out.subtract();
    if !out.norms.implicit.is_finite() {
        solve.fallback = true;
        out.implicit.fill(T::zero());
        out.subtract();
    }
    if let Some(clamp) = norm_ratio_clamp {
        let bound = clamp * out.norms.individual;
        if out.norms.implicit > bound {
            flat::scale(bound / out.norms.implicit, &mut out.implicit);
            out.subtract();
        }
    }
    Ok(solve)
}
