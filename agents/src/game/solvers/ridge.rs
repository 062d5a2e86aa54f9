//! Lambda, and the unit it is in.

use crate::error::Result;
use crate::flat::{self, Scalar};
use crate::game::operator::Operator;
use crate::rng::{Purpose, Rng};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The unit of lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LamUnit {
    /// 1.
    Absolute,
    /// The mean eigenvalue of the damped matrix, its trace by its rank, of each update anew: λ then means the same on
    /// every environment and at every time.
    MeanEigenvalue,
}

/// What is added to the diagonal of a system: so many units.
#[derive(Clone, Copy, Debug)]
pub struct Ridge<T> {
    lam: T,
    unit: LamUnit,
}

impl<T: Scalar> Ridge<T> {
    /// `lam` units.
    pub fn new(lam: T, unit: LamUnit) -> Self {
        Self { lam, unit }
    }

    /// `lambda`, for a matrix of this mean eigenvalue.
    pub(super) fn lambda(&self, mean_eigenvalue: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.unit {
            LamUnit::Absolute => Ok(self.lam),
            LamUnit::MeanEigenvalue => Ok(self.lam * mean_eigenvalue()?),
        }
    }

    /// Whether the unit is the matrix's own.
    pub(super) fn is_relative(&self) -> bool {
        self.unit == LamUnit::MeanEigenvalue
    }
}

/// Products per estimate.
const PROBES: usize = 4;

/// The estimate of a trace by Hutchinson (1989): the mean of `z'A z` over vectors of random signs.
///
/// The signs are drawn once per size: there is then no state that a resumed run would miss.
pub(super) struct Hutchinson<T> {
    seed: u64,
    signs: Vec<T>,
    product: Vec<T>,
}

impl<T: Scalar> Hutchinson<T> {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, signs: Vec::new(), product: Vec::new() }
    }

    /// Of the matrix of size `n` with these products.
    pub(super) fn trace(&mut self, a: &mut Operator<'_, T>, n: usize) -> Result<T> {
        if self.signs.len() != PROBES * n {
            let mut rng = Rng::new(self.seed, Purpose::Solver);
            let sign = |_| if rng.index(2) == 0 { T::one() } else { -T::one() };
            self.signs = (0..PROBES * n).map(sign).collect();
            self.product = vec![T::zero(); n];
        }
        let mut sum = T::zero();
        for z in self.signs.chunks_exact(n) {
            a(z, &mut self.product)?;
            sum += flat::dot(z, &self.product);
        }
        Ok(sum / T::of(PROBES as f64))
    }
}
