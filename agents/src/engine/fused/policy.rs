//! From the actor's output `z` to actions in the unit box, and derivatives back through them.
//!
//! ```text
//! deterministic        a = tanh z
//! squashed Gaussian    z = [m, rho],   sigma = exp clamp(rho, -20, 2),   x = m + sigma eps,   a = tanh x
//!                      log pi = sum_j log N(eps_j) - log sigma_j - 2 (log 2 - x_j - softplus(-2 x_j))
//! ```
//!
//! The derivatives are those of one scalar per row, `V = Q - eta log pi`, for a given `g = D_a Q`:
//!
//! ```text
//! D_x V = g (1 - a^2) - 2 eta a,      D_m V = D_x V,      D_rho V = D_x V sigma eps + eta
//! ```

use crate::engine::LOG_STD;
use crate::flat::Scalar;

/// The actions on a fixed number of rows, and their derivatives by `z`.
#[derive(Clone, Default)]
pub(super) struct Policy<T> {
    action_dim: usize,
    /// `a`: rows x action dimension.
    pub actions: Vec<T>,
    /// `log pi(a)` per row; empty if deterministic.
    pub log_prob: Vec<T>,
    /// `D_rho x = sigma eps`, 0 where `rho` is clamped; empty if deterministic.
    spread: Vec<T>,
    /// 1, or 0 where `rho` or a blurred action is clamped; empty if neither can be.
    free: Vec<T>,
    /// `tanh z`, if actions are blurred.
    squashed: Vec<T>,
    /// `a^`, along a tangent.
    pub actions_t: Vec<T>,
}

impl<T: Scalar> Policy<T> {
    /// For `count` rows.
    pub fn new(count: usize, action_dim: usize, stochastic: bool) -> Self {
        let elements = vec![T::zero(); count * action_dim];
        let of_spread = if stochastic { elements.clone() } else { Vec::new() };
        Self {
            action_dim,
            log_prob: vec![T::zero(); if stochastic { count } else { 0 }],
            spread: of_spread.clone(),
            free: of_spread,
            squashed: Vec::new(),
            actions_t: elements.clone(),
            actions: elements,
        }
    }

    fn stochastic(&self) -> bool {
        !self.log_prob.is_empty()
    }

    /// Actions, and their log-probability, from `z` and standard normal `noise`.
    pub fn choose(&mut self, z: &[T], noise: &[T]) {
        if !self.stochastic() {
            self.actions.iter_mut().zip(z).for_each(|(a, &z)| *a = tanh(z));
            return;
        }
        let m = self.action_dim;
        let [low, high] = LOG_STD.map(T::of);
        let (ln_2, half) = (T::of(std::f64::consts::LN_2), T::of(0.5));
        let normal = half * T::of((2.0 * std::f64::consts::PI).ln());
        for (row, log_prob) in self.log_prob.iter_mut().enumerate() {
            *log_prob = T::zero();
            for j in 0..m {
                let (i, mean, rho) = (row * m + j, z[2 * row * m + j], z[(2 * row + 1) * m + j]);
                let clamped = if rho < low {
                    low
                } else if rho > high {
                    high
                } else {
                    rho
                };
                let (free, epsilon) = (T::of(f64::from(u8::from(rho == clamped))), noise[i]);

                // x = m + sigma eps;  a = tanh x
                let spread = num_traits::Float::exp(clamped) * epsilon;
                let x = mean + spread;
                self.actions[i] = tanh(x);
                self.spread[i] = free * spread;
                self.free[i] = free;

                // log N(eps) - log sigma - log (1 - a^2), the last in a form without cancellation
                let log_normal = -half * epsilon * epsilon - normal - clamped;
                let log_slope = T::of(2.0) * (ln_2 - x - softplus(-T::of(2.0) * x));
                *log_prob += log_normal - log_slope;
            }
        }
    }

    /// Blurs deterministic actions: `a = clip(tanh z + clip(std eps, -bound, bound), -1, 1)`.
    pub fn blur(&mut self, [std, bound]: [T; 2], noise: &[T]) {
        self.squashed.clone_from(&self.actions);
        self.free.resize(noise.len(), T::zero());
        let clip = |x: T, bound: T| {
            if x < -bound {
                -bound
            } else if x > bound {
                bound
            } else {
                x
            }
        };
        for ((a, free), &epsilon) in self.actions.iter_mut().zip(&mut self.free).zip(noise) {
            let blurred = *a + clip(std * epsilon, bound);
            *a = clip(blurred, T::one());
            *free = T::of(f64::from(u8::from(*a == blurred)));
        }
    }

    /// `D_z V` from `g = D_a Q`.
    pub fn backward(&self, eta: T, g: &[T], out: &mut [T]) {
        let m = self.action_dim;
        if !self.squashed.is_empty() {
            let blurred = self.squashed.iter().zip(&self.free).zip(g);
            for (out, ((&a, &free), &g)) in out.iter_mut().zip(blurred) {
                *out = free * by_x(eta, a, g);
            }
            return;
        }
        for (i, (&a, &g)) in self.actions.iter().zip(g).enumerate() {
            let by_x = by_x(eta, a, g);
            if self.stochastic() {
                let at = 2 * i - i % m;
                out[at] = by_x;
                out[at + m] = by_x * self.spread[i] + eta * self.free[i];
            } else {
                out[i] = by_x;
            }
        }
    }

    /// `a^` from `z^`.
    pub fn tangent(&mut self, z_t: &[T]) {
        let mut actions_t = std::mem::take(&mut self.actions_t);
        self.before_squashing(z_t, &mut actions_t);
        self.actions_t = actions_t;
        for (a_t, &a) in self.actions_t.iter_mut().zip(&self.actions) {
            *a_t = slope(a) * *a_t;
        }
    }

    /// `x^` from `z^`: `x^ = m^ + sigma eps rho^`.
    pub fn before_squashing(&self, z_t: &[T], x_t: &mut [T]) {
        let m = self.action_dim;
        if !self.stochastic() {
            x_t.copy_from_slice(z_t);
            return;
        }
        for (i, (x_t, &spread)) in x_t.iter_mut().zip(&self.spread).enumerate() {
            let at = 2 * i - i % m;
            *x_t = z_t[at] + spread * z_t[at + m];
        }
    }

    /// `a^ = (1 - a^2) x^`
    pub fn squash_tangent(&mut self, x_t: &[T]) {
        for ((a_t, &a), &x_t) in self.actions_t.iter_mut().zip(&self.actions).zip(x_t) {
            *a_t = slope(a) * x_t;
        }
    }

    /// `D_z x_i`, of component `i % m` of row `i / m`, into a row of zeros.
    pub fn by_output(&self, i: usize, row: &mut [T]) {
        let m = self.action_dim;
        row[i % m] = T::one();
        if self.stochastic() {
            row[m + i % m] = self.spread[i];
        }
    }

    /// `D_z (x' u)`, row by row.
    pub fn back_from_actions(&self, u: &[T], out: &mut [T]) {
        let m = self.action_dim;
        if !self.stochastic() {
            out.copy_from_slice(u);
            return;
        }
        for (i, (&u, &spread)) in u.iter().zip(&self.spread).enumerate() {
            let at = 2 * i - i % m;
            out[at] = u;
            out[at + m] = spread * u;
        }
    }

    /// `-D_xx V` where it is positive, and zero elsewhere, for a `g = D_a Q` that does not change with `a`:
    /// `2 (1 - a^2) (eta + a g)`.
    pub fn outer_hessian(&self, eta: T, g: T, i: usize) -> T {
        let a = self.actions[i];
        let h = T::of(2.0) * slope(a) * (eta + a * g);
        if h < T::zero() { T::zero() } else { h }
    }

    /// `(D_z V)^` from `g`, `g^` and `z^`, after [`Policy::tangent`].
    pub fn tangent_backward(&self, eta: T, [g, g_t, z_t]: [&[T]; 3], out: &mut [T]) {
        let (m, two) = (self.action_dim, T::of(2.0));
        for (i, (&a, &a_t)) in self.actions.iter().zip(&self.actions_t).enumerate() {
            // (D_x V)^ = g^ (1 - a^2) - 2 a a^ g - 2 eta a^
            let by_x_t = g_t[i] * (T::one() - a * a) - two * a_t * (a * g[i] + eta);
            if self.stochastic() {
                // (D_rho V)^ = ((D_x V)^ + D_x V rho^) sigma eps
                let at = 2 * i - i % m;
                out[at] = by_x_t;
                out[at + m] = (by_x_t + by_x(eta, a, g[i]) * z_t[at + m]) * self.spread[i];
            } else {
                out[i] = by_x_t;
            }
        }
    }
}

/// `1 - a^2`
fn slope<T: Scalar>(a: T) -> T {
    T::one() - a * a
}

/// `D_x V = g (1 - a^2) - 2 eta a`
fn by_x<T: Scalar>(eta: T, a: T, g: T) -> T {
    g * (T::one() - a * a) - T::of(2.0) * eta * a
}

fn tanh<T: Scalar>(x: T) -> T {
    num_traits::Float::tanh(x)
}

/// `log (1 + exp x)`
fn softplus<T: Scalar>(x: T) -> T {
    let magnitude = num_traits::Float::abs(x);
    let positive = if x > T::zero() { x } else { T::zero() };
    positive + num_traits::Float::ln_1p(num_traits::Float::exp(-magnitude))
}
