//! Extreme eigenvalues against faer's dense eigensolver.
#![allow(clippy::unwrap_used)]

mod common;

use agents::game::spectrum::{Extremes, extremes};
use common::quadratic::{normals, times, with_spectrum};
use faer::{Mat, Side};

fn lanczos(a: &Mat<f64>, iterations: usize, tolerance: f64) -> Extremes {
    let mut product = |v: &[f64], out: &mut [f64]| {
        out.copy_from_slice(&times(a, v));
        Ok(())
    };
    extremes(&mut product, &normals(77, a.nrows()), iterations, tolerance).unwrap()
}

fn dense(a: &Mat<f64>) -> [f64; 2] {
    let values = a.self_adjoint_eigenvalues(Side::Lower).unwrap();
    [values[0], values[values.len() - 1]]
}

/// Spread, clustered at either end, repeated, indefinite, definite of either sign, low rank.
fn spectra() -> Vec<(&'static str, Vec<f64>)> {
    let n = 80;
    let even = |low: f64, high: f64| -> Vec<f64> {
        (0..n).map(|i| low + (high - low) * i as f64 / (n - 1) as f64).collect()
    };
    let few = |values: &[f64]| (0..n).map(|i| values[i % values.len()]).collect();
    let clustered = |at: f64| {
        let mut values = even(-1.0, 1.0);
        for (i, value) in values.iter_mut().take(10).enumerate() {
            *value = at * (1.0 + 1e-7 * i as f64);
        }
        values
    };
    vec![
        ("indefinite", even(-3.0, 5.0)),
        ("positive", even(1e-3, 10.0)),
        ("negative", even(-10.0, -1.0)),
        ("cluster above", clustered(7.0)),
        ("cluster below", clustered(-7.0)),
        ("repeated", few(&[-2.0, 0.5, 4.0])),
        ("a multiple of the identity", vec![3.0; n]),
        ("rank 4", (0..n).map(|i| if i < 4 { i as f64 - 1.5 } else { 0.0 }).collect()),
        ("wide", (0..n).map(|i| 10f64.powf(-8.0 + 0.15 * i as f64)).collect()),
    ]
}

#[test]
fn both_ends_equal_the_dense_eigensolvers_to_1e_10() {
    for (name, spectrum) in spectra() {
        let a = with_spectrum(3, &spectrum);
        let [min, max] = dense(&a);
        let scale = min.abs().max(max.abs());
        let found = lanczos(&a, 80, 1e-13);
        assert!((found.min - min).abs() < 1e-10 * scale, "{name}: {found:?}, min {min}");
        assert!((found.max - max).abs() < 1e-10 * scale, "{name}: {found:?}, max {max}");
    }
}

#[test]
fn a_tolerance_is_kept_and_saves_products() {
    for (name, spectrum) in spectra() {
        let a = with_spectrum(4, &spectrum);
        let [min, max] = dense(&a);
        let found = lanczos(&a, 80, 1e-3);
        let rounding = 1e-12 * min.abs().max(max.abs());
        for (got, want, bound) in
            [(found.min, min, found.errors[0]), (found.max, max, found.errors[1])]
        {
            assert!(
                (got - want).abs() <= 2e-3 * want.abs() + rounding,
                "{name}: {want}, {found:?}"
            );
            assert!(bound <= 1e-3 * want.abs() + rounding, "{name}: {want}, {found:?}");
        }
        // A share of next to nothing takes all there is.
        if min.abs() > 1e-2 * max.abs() {
            assert!(found.iterations < 80, "{name}: {found:?}");
        }
    }
}

/// As of a critic's Hessian late in training. The tolerance was once a share of the larger end, so that the smaller
/// was never looked for.
#[test]
fn a_small_negative_end_beside_a_large_positive_one_is_found() {
    let n = 300;
    let mut spectrum: Vec<f64> = (0..n).map(|i| i as f64 / n as f64).collect();
    spectrum[..8].copy_from_slice(&[-50.0, -20.0, -5.0, 1e5, 4e4, 9e3, 1e3, 200.0]);
    let found = lanczos(&with_spectrum(8, &spectrum), 60, 1e-2);
    assert!((found.min + 50.0).abs() < 0.5 && (found.max - 1e5).abs() < 1e3, "{found:?}");
    assert!(found.iterations < 60, "{found:?}");
}

#[test]
fn truncated_estimates_lie_within_the_spectrum_and_their_bound_beyond() {
    for (name, spectrum) in spectra() {
        let a = with_spectrum(5, &spectrum);
        let [min, max] = dense(&a);
        let rounding = 1e-12 * min.abs().max(max.abs());
        for iterations in [1, 2, 4, 8] {
            let found = lanczos(&a, iterations, 0.0);
            assert!(found.iterations <= iterations);
            assert!(found.min >= min - rounding && found.max <= max + rounding, "{name}");
            if iterations >= 4 {
                assert!(found.max + found.remainder >= max - rounding, "{name}: {found:?}");
            }
        }
    }
}

/// Beyond that there is only rounding to iterate on.
#[test]
fn the_iteration_ends_when_every_distinct_eigenvalue_has_been_seen() {
    for (name, distinct) in [("repeated", 3), ("a multiple of the identity", 1)] {
        let (_, spectrum) = spectra().into_iter().find(|(n, _)| *n == name).unwrap();
        let found = lanczos(&with_spectrum(6, &spectrum), 80, 0.0);
        assert_eq!(found.iterations, distinct, "{name}");
    }
}

#[test]
fn products_that_are_not_finite_give_nan_and_a_zero_start_gives_zero() {
    let mut a = with_spectrum(1, &[1.0, 2.0, 3.0]);
    a[(0, 0)] = f64::NAN;
    let found = lanczos(&a, 3, 0.0);
    assert!(found.min.is_nan() && found.max.is_nan() && found.errors[0].is_nan());
    let found = extremes::<f64>(&mut |_, _| Ok(()), &[0.0; 3], 5, 0.0).unwrap();
    assert_eq!((found.min, found.max, found.iterations), (0.0, 0.0, 0));
}
