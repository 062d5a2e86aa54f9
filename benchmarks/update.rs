//! One update per algorithm and solver, one solve, and replay sampling, on a replay buffer of random transitions with the dimensions of
//! Walker2d-v4: `cargo bench -p stac-agents --bench update [-- FILTER]`.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../agents/tests/common/shipped.rs"]
mod shipped;

use agents::algo::algorithm::OffPolicy as _;
use agents::algo::ddpg::Ddpg;
use agents::engine::fused::Fused;
use agents::engine::{Engine as _, Point, Role};
use agents::game::solvers::SolverKind;
use agents::game::{ImplicitTerm, LeaderGradient, SolverConfig, total_derivative};
use agents::memory::{Batch, Replay};
use agents::registry;
use agents::rng::{Purpose, Rng};
use agents::settings::merge;
use agents::{ActionSpace, Learn, Spaces, Step};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use shipped::{family, shipped};

const OBS: usize = 17;
const ACT: usize = 6;

fn spaces() -> Spaces {
    Spaces::new(OBS, ActionSpace::Box { low: vec![-1.0; ACT], high: vec![1.0; ACT] })
}

/// Feeds random transitions.
struct Feed {
    rng: Rng,
    obs: Vec<f32>,
    step: Step,
}

impl Feed {
    fn new() -> Self {
        Self {
            rng: Rng::new(0, Purpose::Diagnostics),
            obs: vec![0.0; OBS],
            step: Step::new(1, OBS),
        }
    }

    fn observe(&mut self, agent: &mut dyn Learn) {
        let actions: Vec<f32> = (0..ACT).map(|_| self.rng.uniform(-1.0, 1.0)).collect();
        self.step.next_obs.fill_with(|| self.rng.normal());
        self.step.rewards[0] = self.rng.normal();
        agent.observe(&self.obs, &actions, &self.step).unwrap();
        self.obs.copy_from_slice(&self.step.next_obs);
    }
}

/// An agent whose every observation from now on makes one update due.
fn agent(algo: &str, settings: serde_json::Value, filled: u64) -> (Box<dyn Learn>, Feed) {
    let mut all = json!({"train_freq": 1, "gradient_steps": 1, "learning_starts": filled});
    merge(&mut all, settings);
    let settings = shipped(algo, &all);
    let mut agent = registry::find(algo).unwrap().build(&settings, &spaces(), 0).unwrap();
    let mut feed = Feed::new();
    for _ in 0..filled + 20 {
        feed.observe(&mut *agent);
    }
    (agent, feed)
}

fn updates(criterion: &mut Criterion) {
    tch::set_num_threads(1);
    let woodbury = json!({"solver": "woodbury", "lam": 0.1});
    let cg = json!({"solver": "cg", "lam": 100.0, "cg_tolerance": 0.0, "curvature_stop": false});
    let gauss_newton =
        json!({"solver": "cg", "curvature": "gauss_newton", "lam": 0.1, "cg_tolerance": 0.0});
    let cases = [
        ("ddpg", "", json!({})),
        ("stddpg-al", "/woodbury", woodbury.clone()),
        ("stddpg-al", "/cg", cg.clone()),
        ("stddpg-al", "/cg-gauss-newton", gauss_newton.clone()),
        ("stddpg-cl", "/cg", cg.clone()),
        ("sac", "", json!({})),
        ("stsac-al", "/woodbury", woodbury),
        ("stsac-al", "/cg", cg.clone()),
        ("stsac-cl", "/cg", cg),
    ];
    for engine in ["fused", "autograd"] {
        let mut group = criterion.benchmark_group(format!("update/{engine}"));
        group.sample_size(if engine == "fused" { 50 } else { 10 });
        for (algo, solver, settings) in &cases {
            let mut settings = settings.clone();
            settings.as_object_mut().unwrap().insert("engine".into(), engine.into());
            let mut built = None;
            group.bench_function(format!("{algo}{solver}"), |bencher| {
                let (agent, feed) =
                    built.get_or_insert_with(|| agent(algo, settings.clone(), 20_000));
                bencher.iter(|| feed.observe(&mut **agent));
            });
        }
        group.finish();
    }
}

/// The leader's total derivative alone, forward passes included.
fn solves(criterion: &mut Criterion) {
    let family: Ddpg = family("stddpg-al", &json!({}), OBS, ACT);
    let mut engine = Fused::<f32>::new(family.spec().unwrap());
    let mut rng = Rng::new(0, Purpose::Diagnostics);
    let (actor, critic) = (family.actor().init(&mut rng), family.critic().init(&mut rng));
    let mut normals = |len: usize| (0..len).map(|_| rng.normal()).collect::<Vec<f32>>();
    let batch = Batch {
        size: 100,
        obs: normals(100 * OBS),
        actions: normals(100 * ACT),
        rewards: normals(100),
        next_obs: normals(100 * OBS),
        dones: vec![0.0; 100],
        ..Batch::default()
    };
    let point = || Point {
        actor: &actor,
        critic: &critic,
        target_actor: &actor,
        target_critic: &critic,
        batch: &batch,
        ent_coef: 0.0,
    };
    let mut out = LeaderGradient::new(actor.len());
    for (name, kind) in [("woodbury", SolverKind::Woodbury), ("cg", SolverKind::Cg)] {
        let config =
            SolverConfig { kind, tolerance: 0.0, curvature_stop: false, ..SolverConfig::default() };
        let mut implicit_term = ImplicitTerm::new(&config);
        criterion.bench_function(&format!("solve/fused/{name}"), |bencher| {
            bencher.iter(|| {
                let mut game = engine.freeze(point(), Role::Actor).unwrap();
                total_derivative(&mut game, &mut implicit_term, 0.1, None, &mut out).unwrap()
            });
        });
    }
}

fn sampling(criterion: &mut Criterion) {
    let mut replay = Replay::new(1_000_000, OBS, ACT);
    let mut rng = Rng::new(0, Purpose::Replay);
    let row = [0.5; OBS];
    for _ in 0..1_000_000 {
        replay.push(&row, &row[..ACT], 0.5, &row, (false, false));
    }
    let mut batch = Batch::<f32>::default();
    criterion.bench_function("replay/sample 100 of 1e6", |bencher| {
        bencher.iter(|| replay.sample(100, &mut rng, &mut batch));
    });
}

criterion_group!(benches, updates, solves, sampling);
criterion_main!(benches);
