//! The game of actor-critic against closed forms, finite differences and dense algebra, in float64.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use agents::algo::CriticKind;
use agents::algo::ac::{ActorCritic, Data};
use agents::algo::distribution::Distribution;
use agents::engine::autograd::{Autograd, AutogradGame};
use agents::engine::{Engine as _, FrozenGame as _, Role};
use agents::flat;
use agents::game::solvers::SolverKind;
use agents::game::{
    Curvature, Game, ImplicitTerm, LeaderGradient, Player, SolverConfig, total_derivative,
};
use agents::memory::Trajectories;
use agents::nn::{Activation, Mlp};
use agents::rng::{Purpose, Rng};
use agents::settings::merge;
use agents::{ActionSpace, Spaces};
use common::assert_close;
use common::shipped::actor_critic;
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

const OBS: usize = 3;
const ROWS: usize = 24;

fn discrete() -> ActionSpace {
    ActionSpace::Discrete { n: 4 }
}

fn boxed() -> ActionSpace {
    ActionSpace::Box { low: vec![-1.0, 0.0], high: vec![1.0, 3.0] }
}

struct Setting {
    family: ActorCritic,
    actor: Vec<f64>,
    critic: Vec<f64>,
    batch: Trajectories<f64>,
}

impl Setting {
    fn new(action: ActionSpace, settings: &Value) -> Self {
        let mut all = json!({"policy_kwargs": {"net_arch": [6, 4]}});
        merge(&mut all, settings.clone());
        let spaces = Spaces::new(OBS, action);
        let family = actor_critic(&all, &spaces);
        let mut rng = Rng::new(5, Purpose::Diagnostics);
        let mut vector = |n: usize, scale: f64| -> Vec<f64> {
            (0..n).map(|_| rng.uniform(-scale, scale)).collect()
        };
        let (actor, critic) =
            (vector(family.dim(Role::Actor), 0.8), vector(family.dim(Role::Critic), 0.8));
        let m = spaces.action.dim();
        let actions = match spaces.action {
            ActionSpace::Discrete { n } => (0..ROWS).map(|i| (i * 7 % n) as f64).collect(),
            ActionSpace::Box { .. } => vector(ROWS * m, 1.5),
        };
        let batch = Trajectories {
            size: ROWS,
            obs: vector(ROWS * OBS, 1.5),
            actions,
            values: vector(ROWS, 1.0),
            advantages: vector(ROWS, 2.0),
            returns: vector(ROWS, 3.0),
            // Trajectories of 5, 1, 7 and 11 steps.
            remaining: [5, 1, 7, 11].into_iter().flat_map(|n: usize| (1..=n).rev()).collect(),
        };
        Self { family, actor, critic, batch }
    }

    fn data(&self) -> Data {
        self.family.data(&self.batch).unwrap()
    }

    fn game(&self) -> AutogradGame<f64> {
        common::trajectory_game(&self.family, &self.actor, &self.critic, &self.data())
    }

    fn params(&mut self, role: Role) -> &mut Vec<f64> {
        match role {
            Role::Actor => &mut self.actor,
            Role::Critic => &mut self.critic,
        }
    }

    fn gradient(&self, of: Player, wrt: Player) -> Vec<f64> {
        let mut game = self.game();
        let mut out = vec![f64::NAN; game.dim(wrt)];
        game.gradient(of, wrt, &mut out).unwrap();
        out
    }

    fn led(&self, config: &SolverConfig, lambda: f64) -> LeaderGradient<f64> {
        let mut game = self.game();
        let mut out = LeaderGradient::new(self.actor.len());
        let mut implicit_term = ImplicitTerm::new(config);
        let solve =
            total_derivative(&mut game, &mut implicit_term, lambda, None, &mut out).unwrap();
        assert!(!solve.fallback && solve.residual < 1e-9, "{solve:?}");
        out
    }
}

/// Whose loss, the actor leading.
fn player_of(role: Role) -> Player {
    if role == Role::Actor { Player::Leader } else { Player::Follower }
}

fn every_setting() -> Vec<Setting> {
    let mut settings = Vec::new();
    for (action, use_sde) in [(discrete(), false), (boxed(), false), (boxed(), true)] {
        for critic in [CriticKind::V, CriticKind::Q] {
            let own = json!({"critic": critic, "ent_coef": 0.3, "use_sde": use_sde});
            settings.push(Setting::new(action.clone(), &own));
        }
    }
    settings
}

fn dense(curvature: Curvature) -> SolverConfig {
    SolverConfig { kind: SolverKind::Dense, curvature, ..SolverConfig::default() }
}

fn woodbury() -> SolverConfig {
    SolverConfig { kind: SolverKind::Woodbury, ..SolverConfig::default() }
}

#[test]
fn a_categorical_policy_has_its_closed_forms() {
    let distribution = Distribution::new(&discrete());
    let z = [0.3, -1.2, 2.0, 0.1];
    let sum: f64 = z.iter().map(|z: &f64| z.exp()).sum();
    let pi = z.map(|z| z.exp() / sum);
    let rows = Tensor::from_slice(&[z, z, z, z].concat()).view([4, 4]);
    let none = Tensor::zeros([0], (Kind::Double, Device::Cpu));
    let actions = Tensor::from_slice(&[0.0, 1.0, 2.0, 3.0]).view([4, 1]);
    let log_prob: Vec<f64> = distribution.log_prob(&rows, &none, &actions).try_into().unwrap();
    assert_close(&log_prob, &pi.map(f64::ln), 1e-12);
    let entropy = f64::try_from(distribution.entropy(&rows, &none)).unwrap();
    assert_close(&[entropy], &[-pi.iter().map(|p| p * p.ln()).sum::<f64>()], 1e-12);

    let narrow = z.map(|z| z as f32);
    let (mut rng, mut action, mut counts) = (Rng::new(0, Purpose::Exploration), [0.0], [0.0; 4]);
    for _ in 0..40_000 {
        distribution.sample(&narrow, &[], &mut rng, &mut action);
        counts[action[0] as usize] += 1.0;
    }
    for (count, p) in counts.iter().zip(pi) {
        // Five standard deviations of a binomial.
        let deviation = (40_000.0 * p * (1.0 - p)).sqrt();
        assert!((count - 40_000.0 * p).abs() < 5.0 * deviation, "{counts:?} {pi:?}");
    }
    distribution.mode(&narrow, &mut action);
    assert_eq!(action, [2.0]);
    // Outputs as far apart as float32 allows still give a choice.
    distribution.sample(&[-3e38, 3e38, 0.0, 0.0], &[], &mut rng, &mut action);
    assert_eq!(action, [1.0]);
}

#[test]
fn a_gaussian_policy_has_its_closed_forms_and_is_clipped_only_for_the_environment() {
    let distribution = Distribution::new(&boxed());
    let (z, log_std, action) = ([0.4, -2.0], [-0.5, 0.7], [1.9, -3.5]);
    let tensor = |x: &[f64]| Tensor::from_slice(x);
    let density = |i: usize| {
        let sigma = f64::exp(log_std[i]);
        let u: f64 = (action[i] - z[i]) / sigma;
        (-0.5 * u * u).exp() / (sigma * std::f64::consts::TAU.sqrt())
    };
    let log_prob = distribution.log_prob(
        &tensor(&z).view([1, 2]),
        &tensor(&log_std),
        &tensor(&action).view([1, 2]),
    );
    let want = (density(0) * density(1)).ln();
    assert_close(&[f64::try_from(log_prob).unwrap()], &[want], 1e-12);
    let entropy = f64::try_from(distribution.entropy(&tensor(&z).view([1, 2]), &tensor(&log_std)));
    let variance = (2.0 * (log_std[0] + log_std[1])).exp();
    let want = 0.5 * ((std::f64::consts::TAU * std::f64::consts::E).powi(2) * variance).ln();
    assert_close(&[entropy.unwrap()], &[want], 1e-12);

    let (mut rng, mut draw) = (Rng::new(0, Purpose::Exploration), [0.0; 2]);
    let (mut sums, mut squares, n) = ([0.0; 2], [0.0; 2], 40_000.0);
    for _ in 0..n as u32 {
        distribution.sample(&z.map(|z| z as f32), &log_std.map(|l| l as f32), &mut rng, &mut draw);
        for i in 0..2 {
            sums[i] += f64::from(draw[i]);
            squares[i] += (f64::from(draw[i]) - z[i]).powi(2);
        }
    }
    for i in 0..2 {
        let sigma = f64::exp(log_std[i]);
        assert!((sums[i] / n - z[i]).abs() < 5.0 * sigma / n.sqrt());
        assert!((squares[i] / n / (sigma * sigma) - 1.0).abs() < 5.0 * (2.0 / n).sqrt());
    }
    let mut clipped = [1.9, -3.5];
    distribution.clip(&mut clipped);
    assert_eq!(clipped, [1.0, 0.0]);
}

/// As the network that acts computes it, row by row.
#[test]
fn the_baseline_of_a_state_is_its_value_under_the_policy() {
    const HIDDEN: [usize; 2] = [37, 16];
    for (action, outputs) in [(discrete(), 4), (boxed(), 2)] {
        for critic in [CriticKind::V, CriticKind::Q] {
            let own = json!({"policy_kwargs": {"net_arch": HIDDEN}, "critic": critic});
            let setting = Setting::new(action.clone(), &own);
            let network = |params: &[f64], input: &[f64], outputs: usize| {
                let mlp = Mlp::new(input.len(), &HIDDEN, outputs, Activation::Tanh);
                let mut out = vec![f64::NAN; outputs];
                mlp.forward(&params[..mlp.dim()], input, &mut Default::default(), &mut out);
                out
            };
            let q = |s: &[f64], a: &[f64]| network(&setting.critic, &[s, a].concat(), 1)[0];
            let value = |s: &[f64]| {
                let z = network(&setting.actor, s, outputs);
                match (critic, &action) {
                    (CriticKind::V, _) => q(s, &[]),
                    (CriticKind::Q, ActionSpace::Box { .. }) => q(s, &z),
                    (CriticKind::Q, ActionSpace::Discrete { n }) => {
                        let sum: f64 = z.iter().map(|z| z.exp()).sum();
                        let choice = |k| (0..*n).map(|i| f64::from(i == k)).collect::<Vec<_>>();
                        (0..*n).map(|k| z[k].exp() / sum * q(s, &choice(k))).sum()
                    }
                }
            };
            let want: Vec<f64> = setting.batch.obs.chunks_exact(OBS).map(value).collect();
            let Setting { family, actor, critic, batch } = &setting;
            assert_close(&family.values(actor, critic, &batch.obs).unwrap(), &want, 1e-12);
        }
    }
}

/// At frozen advantages, each loss is a function of both players' parameters. The critic's depends on theta
/// through scores, which have no value: there differences say nothing, and enumeration does
/// (`actor_critic_theory.rs`).
#[test]
fn gradients_match_finite_differences() {
    for mut setting in every_setting() {
        for (of, wrt) in [(Role::Actor, Role::Actor), (Role::Critic, Role::Critic)] {
            let g = setting.gradient(player_of(of), player_of(wrt));
            let mut rng = Rng::new(2, Purpose::Exploration);
            let v: Vec<f64> = (0..g.len()).map(|_| rng.normal()).collect();
            let mut at = |step: f64| {
                flat::axpy(step, &v, setting.params(wrt));
                let loss = setting.game().objective(player_of(of)).unwrap();
                flat::axpy(-step, &v, setting.params(wrt));
                loss
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert_close(&[flat::dot(&g, &v)], &[slope], 1e-6);
        }
    }
}

/// With gSDE and no hidden layers: `N(W s + b, diag(s^2' sigma^2 + 1e-6))`, by hand.
#[test]
fn a_state_dependent_deviation_enters_density_and_entropy() {
    let own = json!({
        "policy_kwargs": {"net_arch": []}, "use_sde": true, "normalize_advantage": false,
        "ent_coef": 0.3,
    });
    let setting = Setting::new(boxed(), &own);
    let Setting { actor, batch, .. } = &setting;
    let (mut gain, mut entropy) = (0.0, 0.0);
    for (t, s) in batch.obs.chunks(OBS).enumerate() {
        for j in 0..2 {
            let mean = (0..OBS).map(|i| actor[OBS * j + i] * s[i]).sum::<f64>() + actor[6 + j];
            let sigma = |i: usize| actor[8 + 2 * i + j].exp();
            let variance = (0..OBS).map(|i| (s[i] * sigma(i)).powi(2)).sum::<f64>() + 1e-6;
            let log_norm = 0.5 * (std::f64::consts::TAU * variance).ln();
            let miss = batch.actions[2 * t + j] - mean;
            gain -= batch.advantages[t] * (0.5 * miss * miss / variance + log_norm);
            entropy += 0.5 + log_norm;
        }
    }
    let [gain, entropy] = [gain, entropy].map(|sum| sum / ROWS as f64);
    let mut game = setting.game();
    assert_close(&[game.entropy().unwrap().unwrap()], &[entropy], 1e-12);
    assert_close(&[game.objective(Player::Leader).unwrap()], &[-gain - 0.3 * entropy], 1e-12);
}

/// `D_w J = mean D_w V / sigma_A`: what the actor's loss says of the critic.
#[test]
fn the_actor_wants_the_critics_value_up() {
    for setting in every_setting() {
        let scale = {
            let n = ROWS as f64;
            let mean = setting.batch.advantages.iter().sum::<f64>() / n;
            let squares = setting.batch.advantages.iter().map(|a| (a - mean).powi(2)).sum::<f64>();
            (squares / n).sqrt()
        };
        let mut mean = vec![f64::NAN; setting.critic.len()];
        let u = vec![-1.0 / (ROWS as f64 * scale); ROWS];
        setting.game().composite().unwrap().jacobian_transpose(&u, &mut mean).unwrap();
        assert_close(&setting.gradient(Player::Leader, Player::Follower), &mean, 1e-7);
    }
}

#[test]
fn further_critic_steps_take_the_critics_own_gradient() {
    for setting in every_setting() {
        let mut engine = Autograd::new(setting.family.clone(), Device::Cpu);
        let data = setting.data();
        let point = common::trajectory_point(&setting.actor, &setting.critic, &data);
        let mut game = engine.freeze_follower(point, Role::Actor).unwrap();
        let mut own = vec![f64::NAN; setting.critic.len()];
        game.gradient(Player::Follower, Player::Follower, &mut own).unwrap();
        assert_close(&own, &setting.gradient(Player::Follower, Player::Follower), 1e-12);
    }
}

/// The critic has fewer parameters than the batch has samples, or more: either form of the system is that of
/// the dense Gauss-Newton solve.
#[test]
fn woodbury_equals_the_dense_gauss_newton_solve_in_either_form() {
    for net_arch in [vec![2], vec![6, 4]] {
        for critic in [CriticKind::V, CriticKind::Q] {
            let own = json!({"policy_kwargs": {"net_arch": net_arch}, "critic": critic});
            let setting = Setting::new(discrete(), &own);
            assert_eq!(setting.critic.len() < ROWS, net_arch == [2]);
            for lambda in [1e-2, 1.0, 50.0] {
                let exact = setting.led(&dense(Curvature::GaussNewton), lambda);
                let fast = setting.led(&woodbury(), lambda);
                assert_close(&fast.implicit, &exact.implicit, 1e-8);
            }
        }
    }
}

#[test]
fn the_normal_matrix_is_the_square_of_the_jacobian() {
    let setting = Setting::new(boxed(), &json!({}));
    let mut game = setting.game();
    let n = setting.critic.len();
    let (mut normal, mut columns) = (vec![f64::NAN; n * n], Vec::new());
    let game = game.composite().unwrap();
    game.normal(0, &mut normal).unwrap();
    for j in 0..n {
        let (mut unit, mut outputs, mut column) = (vec![0.0; n], vec![0.0; ROWS], vec![0.0; n]);
        unit[j] = 1.0;
        game.jacobian(&unit, &mut outputs).unwrap();
        game.jacobian_transpose(&outputs, &mut column).unwrap();
        columns.extend(column);
    }
    assert_close(&normal, &columns, 1e-12);
}

/// The bias of the critic's last layer makes a column of ones in `J`, whence `u = J x -> -1/2 sigma_A` as
/// lambda vanishes: the implicit term is then `mean D_theta V(s) / sigma_A`, whatever the critic.
#[test]
fn without_damping_the_implicit_term_is_the_mean_gradient_of_returns() {
    let own = json!({"policy_kwargs": {"net_arch": [2]}, "normalize_advantage": false});
    let setting = Setting::new(discrete(), &own);
    let mut want = vec![f64::NAN; setting.actor.len()];
    let game = &mut setting.game();
    let game = game.composite().unwrap();
    game.cross_vjp_of_outputs(&[-0.5; ROWS], &mut want).unwrap();
    assert_close(&setting.led(&woodbury(), 0.0).implicit, &want, 1e-6);

    // mean_i D V(s_i) by hand: sum_t (sum_{i <= t} gamma^{t-i}) A_t D log pi_t / B, which is minus the
    // gradient of a loss with these coefficients.
    let mut batch = setting.batch.clone();
    let mut starts = 0.0;
    for t in 0..ROWS {
        let new = t == 0 || setting.batch.remaining[t - 1] == 1;
        starts = if new { 1.0 } else { 1.0 + 0.99 * starts };
        batch.advantages[t] *= -starts;
    }
    let plain = Setting { batch, ..setting };
    assert_close(&want, &plain.gradient(Player::Leader, Player::Leader), 1e-9);
}

/// The authors' form: a scalar multiple of the plain gradient, `1 + 2 D_w V(s_0) . H^-1 mean D_w V`.
#[test]
fn the_reference_surrogate_changes_the_length_of_the_gradient_alone() {
    let lambda = 20.0;
    let setting = Setting::new(discrete(), &json!({"surrogate": "reference"}));
    let led = setting.led(&dense(Curvature::Hessian), lambda);
    assert!(flat::norm(&led.implicit) > 1e-3 * flat::norm(&led.individual));
    let cosine = flat::cosine(&led.individual, &led.total);
    assert!((cosine.abs() - 1.0).abs() < 1e-12, "{cosine}");

    let n = setting.critic.len();
    let mut game = setting.game();
    let mut hessian = faer::Mat::<f64>::zeros(n, n);
    for j in 0..n {
        let (mut unit, mut column) = (vec![0.0; n], vec![0.0; n]);
        unit[j] = 1.0;
        game.follower_hvp(&unit, &mut column).unwrap();
        column.iter().enumerate().for_each(|(i, &x)| hessian[(i, j)] = x);
        hessian[(j, j)] += lambda;
    }
    let game = game.composite().unwrap();
    let mut mean = vec![0.0; n];
    game.jacobian_transpose(&[1.0 / ROWS as f64; ROWS], &mut mean).unwrap();
    let x = common::quadratic::solve(&hessian, &mean);
    let mut outputs = vec![0.0; ROWS];
    game.jacobian(&x, &mut outputs).unwrap();
    let factor = 1.0 + 2.0 * outputs[0];
    let want: Vec<f64> = led.individual.iter().map(|g| factor * g).collect();
    assert_close(&led.total, &want, 1e-7);

    let setting = Setting::new(discrete(), &json!({}));
    let led = setting.led(&dense(Curvature::Hessian), lambda);
    assert!(flat::cosine(&led.individual, &led.total) < 0.99);
}

#[test]
fn advantages_are_normalised_with_the_loss() {
    let plain = Setting::new(discrete(), &json!({"normalize_advantage": false}));
    let normal = Setting::new(discrete(), &json!({}));
    let mut shifted = Setting::new(discrete(), &json!({}));
    for advantage in &mut shifted.batch.advantages {
        *advantage = 5.0 * *advantage + 3.0;
    }
    let individual = |s: &Setting| s.gradient(Player::Leader, Player::Leader);
    assert_close(&individual(&shifted), &individual(&normal), 1e-6);
    assert!(common::relative_error(&individual(&plain), &individual(&normal)) > 0.1);
}
