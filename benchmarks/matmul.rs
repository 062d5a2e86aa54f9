//! The machine's single-thread matrix-product rate at the shapes of one layer: 100 x 256 x 256, f32.
//!
//!     cargo run --release -p stac-agents --example matmul
//!
//! Prints one line of JSON: GFLOP/s of each of a layer's three products by the faster of two crates, and of the three
//! together, which is the rate that `flops.py` divides by. Medians over chunks of a hundred products each.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use gemm::{Parallelism, gemm};
use serde_json::{Map, Value, json};
use std::hint::black_box;
use std::time::{Duration, Instant};

const BATCH: usize = 100;
const WIDTH: usize = 256;
const CHUNK: u32 = 100;
const CHUNKS: usize = 200;

type Product = fn(MatMut<'_, f32>, MatRef<'_, f32>, MatRef<'_, f32>);

const CRATES: [(&str, Product); 2] = [("faer", by_faer), ("gemm", by_gemm)];

/// `out = a b`.
fn by_faer(out: MatMut<'_, f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    matmul(out, Accum::Replace, a, b, 1.0, Par::Seq);
}

/// `out = a b`. The crate `gemm` has no safe interface.
#[allow(unsafe_code)]
fn by_gemm(out: MatMut<'_, f32>, a: MatRef<'_, f32>, b: MatRef<'_, f32>) {
    let (m, n, k) = (out.nrows(), out.ncols(), a.ncols());
    assert!(a.nrows() == m && b.nrows() == k && b.ncols() == n);
    // SAFETY: pointers, sizes and strides are those of live matrices whose shapes fit (asserted), and `out`, borrowed
    // mutably, overlaps neither operand.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_ptr_mut(),
            out.col_stride(),
            out.row_stride(),
            false,
            a.as_ptr(),
            a.col_stride(),
            a.row_stride(),
            b.as_ptr(),
            b.col_stride(),
            b.row_stride(),
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let numbers = |n: usize| (0..n).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>();
    let (x, w, d) = (numbers(BATCH * WIDTH), numbers(WIDTH * WIDTH), numbers(BATCH * WIDTH));
    let rows = |data, rows| MatRef::from_row_major_slice(data, rows, WIDTH);
    let (x, w, d) = (rows(&x, BATCH), rows(&w, WIDTH), rows(&d, BATCH));
    let layer = [
        ("forward", x, w.transpose()),         // Z = X W'
        ("input_gradient", d, w),              // dX = D W
        ("weight_gradient", d.transpose(), x), // dW = D' X
    ];
    let mut out = vec![0.0; WIDTH * WIDTH];
    let mut time = |product: Product, a: MatRef<'_, f32>, b: MatRef<'_, f32>| {
        let out = &mut out[..a.nrows() * WIDTH];
        let start = Instant::now();
        for _ in 0..CHUNK {
            let out = MatMut::from_row_major_slice_mut(black_box(&mut *out), a.nrows(), WIDTH);
            product(out, black_box(a), black_box(b));
        }
        start.elapsed().as_secs_f64() / f64::from(CHUNK)
    };

    // Cores and caches awake first.
    let awake = Instant::now();
    while awake.elapsed() < Duration::from_millis(200) {
        time(by_faer, x, w.transpose());
    }
    let mut seconds = layer.map(|_| CRATES.map(|_| Vec::new()));
    for _ in 0..CHUNKS {
        for ((_, a, b), seconds) in layer.iter().zip(&mut seconds) {
            for ((_, product), seconds) in CRATES.iter().zip(seconds) {
                seconds.push(time(*product, *a, *b));
            }
        }
    }
    let seconds = seconds.map(|products| products.map(median));
    let flop = 2.0 * (BATCH * WIDTH * WIDTH) as f64;
    let rate = |seconds: f64| json!(flop / seconds / 1e9);
    let mean = |seconds: [f64; 3]| seconds.iter().sum::<f64>() / 3.0;
    let faster = seconds.map(|of| of.into_iter().fold(f64::INFINITY, f64::min));
    let mut line = Map::from_iter([("gflops".to_owned(), rate(mean(faster)))]);
    line.extend(layer.iter().zip(faster).map(|((name, ..), s)| ((*name).to_owned(), rate(s))));
    line.extend(
        CRATES
            .iter()
            .enumerate()
            .map(|(i, (name, _))| ((*name).to_owned(), rate(mean(seconds.map(|of| of[i]))))),
    );
    println!("{}", Value::Object(line));
}
