//! What one update costs, counted: no allocation in the steady state, and as many floating-point
//! operations in matrix products as the formula says.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::engine::fused::products;
use agents::registry;
use agents::settings::merge;
use agents::{ActionSpace, Learn, Spaces, Step};
use common::shipped::shipped;
use serde_json::{Value, json};

const OBS: usize = 17;
const ACT: usize = 6;
const HIDDEN: usize = 256;
const BATCH: usize = 100;

/// An agent that updates at every observation, well past its first updates.
fn warm(algo: &str, settings: Value) -> (Box<dyn Learn>, impl FnMut(&mut dyn Learn)) {
    let mut all = json!({
        "train_freq": 1, "gradient_steps": 1, "learning_starts": 200, "buffer_size": 200,
        "engine": "fused", "policy_kwargs": {"net_arch": [HIDDEN, HIDDEN]}, "batch_size": BATCH,
    });
    merge(&mut all, settings);
    let settings = shipped(algo, &all);
    let action = ActionSpace::Box { low: vec![-1.0; ACT], high: vec![1.0; ACT] };
    let spaces = Spaces::new(OBS, action);
    let mut agent = registry::find(algo).unwrap().build(&settings, &spaces, 0).unwrap();

    let mut step = Step::new(1, OBS);
    let mut t = 0_u32;
    let mut observe = move |agent: &mut dyn Learn| {
        let actions = [(t as f32).sin(); ACT];
        let obs = [(t as f32).cos(); OBS];
        t += 1;
        step.next_obs.fill((t as f32).cos());
        step.rewards[0] = f64::from(t).sin();
        agent.observe(&obs, &actions, &step).unwrap();
    };
    for _ in 0..205 {
        observe(&mut *agent);
    }
    assert!(agent.updates() > 3);
    (agent, observe)
}

/// Every update rule: algorithm, settings.
fn rules() -> Vec<(&'static str, Value)> {
    let cg = json!({"solver": "cg", "lam": 100.0});
    let gauss_newton = json!({"solver": "cg", "curvature": "gauss_newton", "lam": 1.0});
    let woodbury = json!({"solver": "woodbury", "lam": 0.1});
    vec![
        ("ddpg", json!({"update_order": "sequential", "target_policy": "target"})),
        ("ddpg", json!({})),
        ("stddpg-al", woodbury.clone()),
        ("stddpg-al", cg.clone()),
        ("stddpg-al", gauss_newton),
        ("stddpg-al", json!({"solver": "cg", "lam": 100.0, "independent_minibatches": true})),
        ("stddpg-cl", cg.clone()),
        ("sac", json!({"ent_coef": "auto"})),
        ("stsac-al", woodbury),
        ("stsac-al", cg.clone()),
        ("stsac-cl", cg),
    ]
}

#[test]
fn a_steady_update_allocates_nothing() {
    for (algo, settings) in rules() {
        let (mut agent, mut observe) = warm(algo, settings.clone());
        let allocations = allocation_counter::measure(|| {
            for _ in 0..3 {
                observe(&mut *agent);
            }
        });
        assert_eq!(allocations.count_total, 0, "{algo} {settings}: {allocations:?}");
    }
}

#[test]
fn products_of_an_update_are_those_of_the_formula() {
    // Multiply-adds of one forward pass of actor and critic per sample; of the critic's hidden layer.
    let (n, m, h) = (OBS as u64, ACT as u64, HIDDEN as u64);
    let actor = n * h + h * h + h * m;
    let critic = (n + m) * h + h * h + h;
    let samples = BATCH as u64;

    // DDPG. Critic: Q at (s, a), mu and Q_0 at s'; back to the first layer; weights' gradient.
    let critic_step = critic + actor + critic + (h * h + h) + critic;
    // Actor: mu and Q at s; back through Q to the action and through mu; weights' gradient.
    let to_action = h * h + h + h * m;
    let actor_step = actor + critic + to_action + (h * h + h * m) + actor;
    let ddpg = 2 * samples * (critic_step + actor_step);

    // SAC: two heads of the actor, twin critics, of which the actor's step differentiates one per sample.
    let two_heads = actor + h * m;
    let twins_step = two_heads + 2 * critic + 2 * critic + 2 * (h * h + h) + 2 * critic;
    let soft_step = two_heads + 2 * critic + to_action + (h * h + 2 * h * m) + two_heads;
    let sac = 2 * samples * (twins_step + soft_step);

    // The cross term: from y back through Q_0 and mu, weights' gradient.
    let cross = to_action + (h * h + h * m) + actor;

    // Woodbury: K on and below the diagonal, in two blocks of columns; K~ u through K~ in the layer of
    // h x h, through the gradient in the other two.
    let widths = (n + m) + h + h + h + h + 1;
    let triangle = samples * 48 + (samples - 48) * (samples - 48);
    let gram = triangle * widths + samples * samples * (h + h);
    let gradient = 2 * samples * ((n + m) * h + h);
    let woodbury = 2 * samples * cross + 2 * (gram + gradient);

    // CG: D2 f1; ten products with the Hessian, of which each has tangents forward, back to the first
    // layer, and the weights' gradient; what is the same in all of them; J x.
    let tangent = (n + m) * h + 2 * h * h + 2 * h;
    let product = tangent + h * h + (n + m) * h + (h * h + h) + 2 * h;
    let cg = 2 * samples * (critic + 10 * product + (h * h + h) + tangent + cross);

    for (algo, settings, flop) in [
        ("ddpg", json!({"update_order": "sequential", "target_policy": "target"}), ddpg),
        ("ddpg", json!({}), ddpg),
        ("sac", json!({}), sac),
        ("stddpg-al", json!({"solver": "woodbury", "lam": 0.1}), ddpg + woodbury),
        (
            "stddpg-al",
            json!({"solver": "cg", "cg_tolerance": 0.0, "curvature_stop": false}),
            ddpg + cg,
        ),
    ] {
        let (mut agent, mut observe) = warm(algo, settings.clone());
        let before = products();
        observe(&mut *agent);
        assert_eq!(products().flop - before.flop, flop, "{algo} {settings}");
    }
    assert_eq!(ddpg / 1_000_000, 140);
}
