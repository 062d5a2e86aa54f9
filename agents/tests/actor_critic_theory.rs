//! Proposition 1 and Theorem 1 on a decision process that can be enumerated, in float64: what training
//! computes, averaged over every trajectory, is the exact gradient.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::algo::CriticKind;
use agents::algo::ac::ActorCritic;
use agents::engine::autograd::AutogradGame;
use agents::flat;
use agents::game::{Game, Player};
use agents::memory::{Rollout, Trajectories};
use agents::nn::{Activation, Mlp};
use agents::rng::{Purpose, Rng};
use agents::{ActionSpace, Spaces};
use common::assert_close;
use common::shipped::actor_critic;
use common::tabular::*;
use serde_json::json;

const HIDDEN: [usize; 1] = [4];

struct Setting {
    world: Tabular,
    family: ActorCritic,
    actor_net: Mlp,
    critic_net: Mlp,
    kind: CriticKind,
    actor: Vec<f64>,
    critic: Vec<f64>,
}

impl Setting {
    fn new(kind: CriticKind, gamma: f64) -> Self {
        let settings = json!({
            "policy_kwargs": {"net_arch": HIDDEN},
            "critic": kind,
            "gamma": gamma,
            "normalize_advantage": false,
        });
        let spaces = Spaces::new(OBS, ActionSpace::Discrete { n: CHOICES });
        let inputs = OBS + if kind == CriticKind::Q { CHOICES } else { 0 };
        let actor_net = Mlp::new(OBS, &HIDDEN, CHOICES, Activation::Tanh);
        let critic_net = Mlp::new(inputs, &HIDDEN, 1, Activation::Tanh);
        let mut rng = Rng::new(7, Purpose::Diagnostics);
        let mut vector = |n: usize| (0..n).map(|_| rng.uniform(-1.5, 1.5)).collect::<Vec<f64>>();
        Self {
            world: Tabular::random(3, gamma),
            family: actor_critic(&settings, &spaces),
            actor: vector(actor_net.dim()),
            critic: vector(critic_net.dim()),
            actor_net,
            critic_net,
            kind,
        }
    }

    fn direction(&self) -> Vec<f64> {
        let mut rng = Rng::new(8, Purpose::Exploration);
        (0..self.critic.len()).map(|_| rng.uniform(-0.3, 0.3)).collect()
    }

    /// The critic's output for parameters `w`, without libtorch.
    fn fit(&self, w: &[f64], t: usize, s: usize, a: usize) -> f64 {
        let mut input = obs(t, s);
        if self.kind == CriticKind::Q {
            input.extend((0..CHOICES).map(|k| f64::from(u8::from(k == a))));
        }
        let mut out = [0.0];
        self.critic_net.forward(w, &input, &mut Default::default(), &mut out);
        out[0]
    }

    /// `sum_t E_{s_t}[f(V)]`, or `sum_t E_{s_t} E_{a ~ pi}[f(Q)]`, of the policy `theta`, with the states weighted
    /// as `starts` says; `f` takes time, state, action and value.
    fn over_starts(
        &self,
        theta: &[f64],
        starts: &Table,
        f: impl Fn(usize, usize, usize, f64) -> f64,
    ) -> f64 {
        let values = self.world.values(&self.actor_net, theta);
        let at = |t: usize, s: usize| -> f64 {
            let pi = policy(&self.actor_net, theta, t, s);
            match self.kind {
                CriticKind::V => f(t, s, 0, values.v[t][s]),
                CriticKind::Q => (0..CHOICES).map(|a| pi[a] * f(t, s, a, values.q[t][s][a])).sum(),
            }
        };
        let rows = starts.iter().enumerate();
        rows.map(|(t, row)| {
            row.iter().enumerate().map(|(s, weight)| weight * at(t, s)).sum::<f64>()
        })
        .sum()
    }

    /// The critic's loss at its own parameters.
    fn loss(&self, theta: &[f64], starts: &Table) -> f64 {
        self.over_starts(theta, starts, |t, s, a, value| {
            (self.fit(&self.critic, t, s, a) - value).powi(2)
        })
    }

    /// `D_w L . x`
    fn follower_slope(&self, theta: &[f64], x: &[f64], starts: &Table) -> f64 {
        self.over_starts(theta, starts, |t, s, a, value| {
            let slope = five_point(|step| {
                let mut w = self.critic.clone();
                flat::axpy(step, x, &mut w);
                self.fit(&w, t, s, a)
            });
            2.0 * (self.fit(&self.critic, t, s, a) - value) * slope
        })
    }

    /// The batch of one trajectory with exact values in place of estimates.
    fn exact_batch(&self, trajectory: &Trajectory) -> Trajectories<f64> {
        let values = self.world.values(&self.actor_net, &self.actor);
        let mut batch = self.sampled_batch(&[trajectory]);
        for (t, &(s, a)) in trajectory.steps.iter().enumerate() {
            batch.advantages[t] = values.q[t][s][a];
            batch.returns[t] = match self.kind {
                CriticKind::V => values.v[t][s],
                CriticKind::Q => values.q[t][s][a],
            };
        }
        batch
    }

    /// The batch of these trajectories as training sees it: sampled returns, and advantages over a
    /// baseline that is far from the value.
    fn sampled_batch(&self, trajectories: &[&Trajectory]) -> Trajectories<f64> {
        let mut rollout = Rollout::default();
        for trajectory in trajectories {
            self.world.replay(trajectory, &mut rollout);
        }
        let baseline = |obs: &[f32]| obs.iter().zip(1..).map(|(x, i)| x * i as f32).sum();
        let mut baselines = |obs: &[f32]| Ok(obs.chunks_exact(OBS).map(baseline).collect());
        rollout.take(self.world.gamma, 1.0, &mut baselines).unwrap()
    }

    fn game(&self, batch: &Trajectories<f64>) -> AutogradGame<f64> {
        common::trajectory_game(
            &self.family,
            &self.actor,
            &self.critic,
            &self.family.data(batch).unwrap(),
        )
    }

    /// `E_tau[f(tau)]` by enumeration; `f` yields a vector of the actor's dimension.
    fn expectation(&self, mut f: impl FnMut(&Trajectory) -> Vec<f64>) -> Vec<f64> {
        let mut mean = vec![0.0; self.actor.len()];
        for trajectory in self.world.trajectories(&self.actor_net, &self.actor) {
            flat::axpy(trajectory.probability, &f(&trajectory), &mut mean);
        }
        mean
    }

    /// The exact gradient of `f` in theta.
    fn derivative(&self, f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
        let along = |i: usize| {
            five_point(|step| {
                let mut theta = self.actor.clone();
                theta[i] += step;
                f(&theta)
            })
        };
        (0..self.actor.len()).map(along).collect()
    }

    fn visits(&self) -> Table {
        self.world.visits(&self.actor_net, &self.actor)
    }
}

/// The derivative of `f` at 0, up to the fourth power of the step.
fn five_point(f: impl Fn(f64) -> f64) -> f64 {
    let h = 1e-3;
    (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)
}

/// `out` of a game on one batch, as a sum over its rows instead of a mean.
fn summed(
    game: &mut AutogradGame<f64>,
    rows: usize,
    dim: usize,
    f: impl FnOnce(&mut AutogradGame<f64>, &mut [f64]),
) -> Vec<f64> {
    let mut out = vec![f64::NAN; dim];
    f(game, &mut out);
    flat::scale(rows as f64, &mut out);
    out
}

#[test]
fn the_process_is_a_probability_distribution_with_the_values_of_its_returns() {
    let setting = Setting::new(CriticKind::V, 0.8);
    let trajectories = setting.world.trajectories(&setting.actor_net, &setting.actor);
    let total: f64 = trajectories.iter().map(|t| t.probability).sum();
    assert!((total - 1.0).abs() < 1e-12);
    let mean: f64 =
        trajectories.iter().map(|t| t.probability * setting.sampled_batch(&[t]).returns[0]).sum();
    let objective = setting.world.objective(&setting.actor_net, &setting.actor);
    assert!((mean - objective).abs() < 1e-12, "{mean} {objective}");
}

/// With every state as the start of its own tail, and the distribution of starts held.
#[test]
fn d_theta_of_the_critics_loss_is_exact_in_expectation() {
    for kind in [CriticKind::V, CriticKind::Q] {
        let setting = Setting::new(kind, 0.8);
        let visits = setting.visits();
        let expected = setting.expectation(|trajectory| {
            let batch = setting.exact_batch(trajectory);
            let mut game = setting.game(&batch);
            summed(&mut game, batch.size, setting.actor.len(), |game, out| {
                game.gradient(Player::Follower, Player::Leader, out).unwrap();
            })
        });
        let exact = setting.derivative(|theta| setting.loss(theta, &visits));
        assert_close(&expected, &exact, 1e-9);
    }
}

/// The paper's own statements: trajectories start at s0 and nowhere else. The terms of other starts are
/// switched off through `u`, of which the first row alone is not zero.
#[test]
fn proposition_1_and_theorem_1_as_printed_are_exact_in_expectation() {
    for kind in [CriticKind::V, CriticKind::Q] {
        let setting = Setting::new(kind, 0.8);
        let mut starts = Table::default();
        starts[0] = setting.visits()[0];
        let expected = setting.expectation(|trajectory| {
            let batch = setting.exact_batch(trajectory);
            let (s, a) = trajectory.steps[0];
            let residual = setting.fit(&setting.critic, 0, s, a) - batch.returns[0];
            // 2 (q - y) [(q - y) D omega - D y] of the first row
            let first_row = |batch: &Trajectories<f64>| {
                let mut u = vec![0.0; batch.size];
                u[0] = residual * batch.size as f64;
                let mut out = vec![f64::NAN; setting.actor.len()];
                let mut game = setting.game(batch);
                game.composite().unwrap().cross_vjp_of_outputs(&u, &mut out).unwrap();
                out
            };
            // D [omega (q - y)^2] has half of that score term, which alone is left where y is constant.
            let mut constant = batch.clone();
            constant.advantages.fill(0.0);
            let mut term = first_row(&batch);
            flat::axpy(-0.5, &first_row(&constant), &mut term);
            term
        });
        let exact = setting.derivative(|theta| setting.loss(theta, &starts));
        assert_close(&expected, &exact, 1e-9);
    }
}

/// What the implicit term needs, `D_theta (D_w L . x)`, from sampled returns alone: it is linear in them, so
/// that their noise averages out.
#[test]
fn the_cross_derivative_from_sampled_returns_is_exact_in_expectation() {
    for kind in [CriticKind::V, CriticKind::Q] {
        let setting = Setting::new(kind, 0.8);
        let (visits, x) = (setting.visits(), setting.direction());
        let exact = setting.derivative(|theta| setting.follower_slope(theta, &x, &visits));

        let expected = setting.expectation(|trajectory| {
            let batch = setting.sampled_batch(&[trajectory]);
            let mut game = setting.game(&batch);
            summed(&mut game, batch.size, setting.actor.len(), |game, out| {
                game.cross_vjp(&x, out).unwrap();
            })
        });
        assert_close(&expected, &exact, 1e-9);

        let by_outputs = setting.expectation(|trajectory| {
            let batch = setting.sampled_batch(&[trajectory]);
            let mut game = setting.game(&batch);
            summed(&mut game, batch.size, setting.actor.len(), |game, out| {
                let game = game.composite().unwrap();
                let mut u = vec![0.0; batch.size];
                game.jacobian(&x, &mut u).unwrap();
                game.cross_vjp_of_outputs(&u, out).unwrap();
            })
        });
        assert_close(&by_outputs, &exact, 1e-9);
    }
}

#[test]
fn without_discounting_the_actors_gradient_is_the_policy_gradient() {
    let setting = Setting::new(CriticKind::V, 1.0);
    let expected = setting.expectation(|trajectory| {
        let batch = setting.sampled_batch(&[trajectory]);
        let mut game = setting.game(&batch);
        summed(&mut game, batch.size, setting.actor.len(), |game, out| {
            game.gradient(Player::Leader, Player::Leader, out).unwrap();
        })
    });
    let exact = setting.derivative(|theta| -setting.world.objective(&setting.actor_net, theta));
    assert_close(&expected, &exact, 1e-9);
}

/// The error of the mean over `n` sampled trajectories falls as `n^-1/2`.
#[test]
fn the_sampled_estimator_converges_at_the_monte_carlo_rate() {
    const REPEATS: u32 = 24;
    for kind in [CriticKind::V, CriticKind::Q] {
        let setting = Setting::new(kind, 0.8);
        let (visits, x) = (setting.visits(), setting.direction());
        let exact = setting.derivative(|theta| setting.follower_slope(theta, &x, &visits));
        let all = setting.world.trajectories(&setting.actor_net, &setting.actor);
        let mut rng = Rng::new(11, Purpose::Exploration);
        let mut draw = || {
            let mut left = rng.uniform::<f64>(0.0, 1.0);
            all.iter().find(|t| {
                left -= t.probability;
                left < 0.0
            })
        };

        let sizes = [40, 160, 640, 2560];
        let errors = sizes.map(|n| {
            let mut squares = 0.0;
            for _ in 0..REPEATS {
                let sample: Vec<&Trajectory> = (0..n).filter_map(|_| draw()).collect();
                let batch = setting.sampled_batch(&sample);
                let mut game = setting.game(&batch);
                let mut out = vec![f64::NAN; setting.actor.len()];
                game.cross_vjp(&x, &mut out).unwrap();
                flat::scale(batch.size as f64 / sample.len() as f64, &mut out);
                squares += common::relative_error(&out, &exact).powi(2);
            }
            (squares / f64::from(REPEATS)).sqrt()
        });
        // Least-squares slope of log error over log n.
        let points: Vec<(f64, f64)> =
            sizes.iter().zip(errors).map(|(&n, e)| (f64::from(n as u32).ln(), e.ln())).collect();
        let mean = |f: fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / 4.0;
        let (mx, my) = (mean(|p| p.0), mean(|p| p.1));
        let slope = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum::<f64>()
            / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>();
        assert!((-0.6..-0.4).contains(&slope), "{kind:?}: slope {slope}, errors {errors:?}");
    }
}
