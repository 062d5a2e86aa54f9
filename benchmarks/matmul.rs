//! The machine's single-thread matrix-product rate at the shapes of one layer: 100 x 256 x 256, f32.
//!
//!     cargo run --release -p stac-agents --example matmul
//!
//! Prints one line of JSON: GFLOP/s of each of a layer's three products, and of the three together, which is
//! the rate that `flops.py` divides by. Medians over chunks of a hundred products each.

use gemm::{Parallelism, gemm};
use serde_json::json;
use std::hint::black_box;
use std::time::{Duration, Instant};

const BATCH: usize = 100;
const WIDTH: usize = 256;
const CHUNK: u32 = 100;
const CHUNKS: usize = 200;

/// A row-major matrix of `rows x cols` as `(cols, row stride, column stride)` may see it, transposed or not.
struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: isize,
    col_stride: isize,
}

impl<'a> View<'a> {
    fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols);
        Self { data, rows, cols, row_stride: cols as isize, col_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self {
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
            ..self
        }
    }
}

/// `out = a b`, `out` row-major.
fn product(out: &mut [f32], a: &View<'_>, b: &View<'_>) {
    let (m, n, k) = (a.rows, b.cols, a.cols);
    assert!(out.len() == m * n && b.rows == k);
    // SAFETY: each pointer, its sizes and strides describe a live slice of exactly that many elements (asserted
    // here and in `View::new`), and `out`, borrowed mutably, overlaps neither operand.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n as isize,
            false,
            a.data.as_ptr(),
            a.col_stride,
            a.row_stride,
            b.data.as_ptr(),
            b.col_stride,
            b.row_stride,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Seconds per product.
fn time(out: &mut [f32], a: &View<'_>, b: &View<'_>) -> f64 {
    let start = Instant::now();
    for _ in 0..CHUNK {
        product(black_box(&mut *out), black_box(a), black_box(b));
    }
    start.elapsed().as_secs_f64() / f64::from(CHUNK)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let numbers = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let (x, w, d) = (numbers(BATCH * WIDTH), numbers(WIDTH * WIDTH), numbers(BATCH * WIDTH));
    let (x, w, d) = (
        || View::new(&x, BATCH, WIDTH),
        || View::new(&w, WIDTH, WIDTH),
        || View::new(&d, BATCH, WIDTH),
    );
    let (mut z, mut dw) = (vec![0.0; BATCH * WIDTH], vec![0.0; WIDTH * WIDTH]);

    // Cores and caches awake first.
    let awake = Instant::now();
    while awake.elapsed() < Duration::from_millis(200) {
        time(&mut z, &x(), &w().transposed());
    }
    let mut seconds = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..CHUNKS {
        seconds[0].push(time(&mut z, &x(), &w().transposed())); // Z = X W'
        seconds[1].push(time(&mut z, &d(), &w())); // dX = D W
        seconds[2].push(time(&mut dw, &d().transposed(), &x())); // dW = D' X
    }
    let flops = 2.0 * (BATCH * WIDTH * WIDTH) as f64;
    let seconds = seconds.map(median);
    let rate = |seconds: f64| flops / seconds / 1e9;
    println!(
        "{}",
        json!({
            "forward": rate(seconds[0]),
            "input_gradient": rate(seconds[1]),
            "weight_gradient": rate(seconds[2]),
            "gflops": rate(seconds.iter().sum::<f64>() / 3.0),
        })
    );
}
