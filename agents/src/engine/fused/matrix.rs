//! Products of matrices that are stored in slices. They run in faer's kernels, which are chosen at run time for this
//! processor, and allocate nothing.

use crate::flat::{Scalar, vectorised};
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use std::cell::Cell;

/// Counts of matrix products on one thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Products {
    /// How many.
    pub count: u64,
    /// Their floating-point operations, `2 m n k` each.
    pub flop: u64,
}

/// A number of columns that leaves no remainder in the kernels' vectors.
const BLOCK: usize = 16;

/// Rows per product of a triangle.
const PANEL: usize = 64;

thread_local! {
    static PRODUCTS: Cell<Products> = const { Cell::new(Products { count: 0, flop: 0 }) };
}

/// The counts of this thread so far.
pub fn products() -> Products {
    PRODUCTS.get()
}

/// `data` as rows of length `columns`.
pub(super) fn rows<T>(data: &[T], columns: usize) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(data, data.len() / columns, columns)
}

/// `out = a b`, or `out += a b` with [`Accum::Add`]; `out` is row-major.
pub(super) fn product<T: Scalar>(
    out: &mut [T],
    accumulate: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
) {
    let (m, n) = (a.nrows(), b.ncols());
    count(2 * m * n * a.ncols());
    let out = MatMut::from_row_major_slice_mut(out, m, n);
    matmul(out, accumulate, a, b, T::one(), Par::Seq);
}

/// `out = a a'`, valid on and below the diagonal only.
pub(super) fn symmetric<T: Scalar>(out: &mut [T], a: MatRef<'_, T>) {
    // In two blocks of columns, the second of which starts at the diagonal.
    let n = a.nrows();
    let left = n / 2 / BLOCK * BLOCK;
    let mut out = MatMut::from_row_major_slice_mut(out, n, n);
    for (start, width) in [(0, left), (left, n - left)] {
        let (rows, columns) = (a.subrows(start, n - start), a.subrows(start, width).transpose());
        count(2 * rows.nrows() * width * a.ncols());
        let out = out.as_mut().submatrix_mut(start, start, n - start, width);
        matmul(out, Accum::Replace, rows, columns, T::one(), Par::Seq);
    }
}

/// Rows of `a b'` into the columns of `out`, whose rows are `width` long, that begin at `first`. Of the `square` `a a'`, what
/// lies on and above the diagonal.
pub(super) fn product_above<T: Scalar>(
    (out, width, first): (&mut [T], usize, usize),
    square: bool,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
) {
    let (m, n) = (a.nrows(), b.nrows());
    let mut out = MatMut::from_row_major_slice_mut(out, m, width).submatrix_mut(0, first, m, n);
    let panel = if square { PANEL } else { m };
    for start in (0..m).step_by(panel.max(1)) {
        let (height, from) = (panel.min(m - start), if square { start } else { 0 });
        let (rows, columns) = (a.subrows(start, height), b.subrows(from, n - from).transpose());
        count(2 * height * (n - from) * a.ncols());
        let out = out.as_mut().submatrix_mut(start, from, height, n - from);
        matmul(out, Accum::Replace, rows, columns, T::one(), Par::Seq);
    }
}

/// `out += sum_i a_i`, the sum of the rows of `a`.
pub(super) fn add_rows<T: Scalar>(a: &[T], out: &mut [T]) {
    vectorised(|| {
        for row in a.chunks_exact(out.len()) {
            for (out, &x) in out.iter_mut().zip(row) {
                *out += x;
            }
        }
    });
}

fn count(flop: usize) {
    let before = PRODUCTS.get();
    PRODUCTS.set(Products { count: before.count + 1, flop: before.flop + flop as u64 });
}
