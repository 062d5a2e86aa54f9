//! A player's parameters are one flat vector. What optimisers, solvers and averages need of it.

use std::iter::Sum;

/// `f32` in training, `f64` in tests against closed forms.
pub trait Scalar:
    num_traits::Float + num_traits::NumAssign + Sum + faer::traits::RealField + Default + 'static
{
    /// Converts a constant or a setting.
    fn of(x: f64) -> Self;
    /// Converts for reporting.
    fn as_f64(self) -> f64;
}

impl Scalar for f32 {
    fn of(x: f64) -> Self {
        x as f32
    }
    fn as_f64(self) -> f64 {
        self.into()
    }
}

impl Scalar for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn as_f64(self) -> f64 {
        self
    }
}

/// Runs a loop as compiled for the widest vectors of this processor. What it computes does not depend
/// on their width: the compiler may not reorder sums.
#[inline(always)]
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Independent partial sums: the compiler can keep them in a few vector registers.
const LANES: usize = 64;

/// `<a, b>`. The order of summation is fixed, so the result is the same on every run.
pub fn dot<T: Scalar>(a: &[T], b: &[T]) -> T {
    let [dot] = dots([a, b], |[x, y]| [x * y]);
    dot
}

/// `sum_i f(x_i, y_i, ..)` of several sums at once, in one pass.
pub(crate) fn dots<T: Scalar, const N: usize, const M: usize>(
    vectors: [&[T]; N],
    f: impl Fn([T; N]) -> [T; M],
) -> [T; M] {
    let len = vectors.iter().map(|v| v.len()).min().unwrap_or(0);
    let vectors = vectors.map(|v| &v[..len]);
    vectorised(|| {
        let mut lanes = [[T::zero(); LANES]; M];
        let mut add = |start: usize, count: usize| {
            let chunks = vectors.map(|v| &v[start..start + count]);
            for lane in 0..count {
                for (lanes, term) in lanes.iter_mut().zip(f(chunks.map(|chunk| chunk[lane]))) {
                    lanes[lane] += term;
                }
            }
        };
        let whole = len - len % LANES;
        (0..whole).step_by(LANES).for_each(|start| add(start, LANES));
        add(whole, len - whole);
        lanes.map(fold)
    })
}

/// Partial sums of rows, which may be short.
const FEW_LANES: usize = 16;

/// `out_i = <row i of the matrix, x>`, row after row; several times as fast as [`dot`] where they are short.
pub(crate) fn matvec<T: Scalar>(matrix: &[T], x: &[T], out: &mut [T]) {
    let (blocks, rest) = x.as_chunks::<FEW_LANES>();
    vectorised(|| {
        for (out, row) in out.iter_mut().zip(matrix.chunks_exact(x.len())) {
            let (row_blocks, row_rest) = row.as_chunks::<FEW_LANES>();
            let mut lanes = [T::zero(); FEW_LANES];
            for (row, x) in row_blocks.iter().zip(blocks) {
                for ((lane, &w), &x) in lanes.iter_mut().zip(row).zip(x) {
                    *lane += w * x;
                }
            }
            *out = fold(lanes);
            for (&w, &x) in row_rest.iter().zip(rest) {
                *out += w * x;
            }
        }
    });
}

/// `out_i = g` and the sums of the `h`, in one pass, where `f(x_i, y_i, ..) = (g, h)`.
pub(crate) fn write_dots<T: Scalar, const N: usize, const M: usize>(
    out: &mut [T],
    vectors: [&[T]; N],
    f: impl Fn([T; N]) -> (T, [T; M]),
) -> [T; M] {
    let vectors = vectors.map(|v| &v[..out.len()]);
    vectorised(|| {
        let mut lanes = [[T::zero(); LANES]; M];
        for (start, out) in (0..).step_by(LANES).zip(out.chunks_mut(LANES)) {
            let chunks = vectors.map(|v| &v[start..start + out.len()]);
            for (lane, out) in out.iter_mut().enumerate() {
                let (value, terms) = f(chunks.map(|chunk| chunk[lane]));
                *out = value;
                for (lanes, term) in lanes.iter_mut().zip(terms) {
                    lanes[lane] += term;
                }
            }
        }
        lanes.map(fold)
    })
}

/// The sum, by halves.
#[inline(always)]
fn fold<T: Scalar, const N: usize>(mut lanes: [T; N]) -> T {
    let mut half = N / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] += lanes[i + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// `|a|`, the Euclidean norm.
pub fn norm<T: Scalar>(a: &[T]) -> T {
    num_traits::Float::sqrt(dot(a, a))
}

/// `y += alpha x`
pub fn axpy<T: Scalar>(alpha: T, x: &[T], y: &mut [T]) {
    vectorised(|| {
        for (y, &x) in y.iter_mut().zip(x) {
            *y += alpha * x;
        }
    });
}

/// `a *= alpha`
pub fn scale<T: Scalar>(alpha: T, a: &mut [T]) {
    vectorised(|| {
        for x in a {
            *x *= alpha;
        }
    });
}

/// Cosine of the angle between `a` and `b`; 0 if either is zero.
pub fn cosine<T: Scalar>(a: &[T], b: &[T]) -> T {
    let product = norm(a) * norm(b);
    if product > T::zero() { dot(a, b) / product } else { T::zero() }
}

/// Whether every number is finite.
pub fn all_finite<T: Scalar>(a: &[T]) -> bool {
    // 0 * x is 0 for every finite x and NaN otherwise; unlike a chain of comparisons it vectorises.
    let [sum] = dots([a], |[x]| [x * T::zero()]);
    sum == T::zero()
}

/// `target <- (1 - tau) target + tau source`
pub fn polyak<T: Scalar>(tau: T, source: &[T], target: &mut [T]) {
    vectorised(|| {
        for (target, &source) in target.iter_mut().zip(source) {
            *target += tau * (source - *target);
        }
    });
}
