//! What several tests share. Without the feature `torch` there is the game alone.
#![allow(clippy::unwrap_used, dead_code, unused_imports)]

#[cfg(feature = "torch")]
pub mod agreement;
#[cfg(feature = "torch")]
mod fixture;
pub mod quadratic;
#[cfg(feature = "torch")]
pub mod shipped;
#[cfg(feature = "torch")]
pub mod tabular;

use agents::flat;
#[cfg(feature = "torch")]
pub use fixture::*;

/// `|a - b| / |b|`
pub fn relative_error(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
    flat::norm(&difference) / flat::norm(b)
}

#[track_caller]
pub fn assert_close(got: &[f64], want: &[f64], tolerance: f64) {
    assert!(flat::norm(want) > 0.0, "the reference is zero: the comparison would prove nothing");
    let error = relative_error(got, want);
    assert!(error < tolerance, "relative error {error:e}, allowed {tolerance:e}");
}
