//! The leader's update: its settings, common to all Stackelberg forms, and its damping.

use super::curvature::Curvature;
use super::solvers::{LamUnit, SolveInfo, SolverConfig, SolverKind};
use super::total_derivative::Norms;
use crate::error::{Error, Result};
use crate::settings::{Record, Settings, schema, to_value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How the damping `lam` evolves with environment steps `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LambdaDecay {
    /// It stays.
    None,
    /// λ exp(-t / 1e5) after t environment steps.
    Exponential,
    /// 1 % up after an update whose solve failed, met negative curvature, or gave an implicit term longer
    /// than the individual gradient, 1 % down after others; within 1/1,000 and 1,000 times its start.
    Adaptive,
}

/// The leader's update, of the Stackelberg forms and of baselines with `step_match` or `noise_match`.
///
/// `x-solvers` names the solvers that a setting belongs to, where that is not all of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(title = "The leader's update")]
pub struct StackelbergConfig {
    /// How the leader's linear system is solved.
    pub solver: SolverKind,
    /// Which matrix stands for the follower's Hessian: `gauss_newton` for `woodbury`, `hessian` for other
    /// solvers if not given.
    pub curvature: Option<Curvature>,
    /// Damping λ: 0.1 for `woodbury`, 100 for other solvers if not given, and 1 in units of the mean eigenvalue.
    #[schemars(range(min = 0))]
    pub lam: Option<f64>,
    /// The unit of λ.
    pub lam_unit: LamUnit,
    /// How λ evolves.
    pub lam_decay: LambdaDecay,
    /// Iterations at most.
    #[schemars(range(min = 1), extend("x-solvers" = ["cg", "neumann"]))]
    pub cg_iterations: usize,
    /// Relative residual at which to stop.
    #[schemars(range(min = 0), extend("x-solvers" = ["cg", "neumann"]))]
    pub cg_tolerance: f64,
    /// Whether to stop at the first direction of non-positive curvature.
    #[schemars(extend("x-solvers" = ["cg", "neumann"]))]
    pub curvature_stop: bool,
    /// Whether to start from the last solution instead of zero.
    #[schemars(extend("x-solvers" = ["cg", "neumann"]))]
    pub warm_start: bool,
    /// Rank of the approximation, at most.
    #[schemars(range(min = 1), extend("x-solvers" = ["nystrom"]))]
    pub solver_rank: usize,
    /// Bound of ‖implicit term‖ / ‖individual gradient‖.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub norm_ratio_clamp: Option<f64>,
    /// Whether D₁₂f₂, D₂₂f₂ and D₂f₁ each come from a minibatch of its own (Appendix D), so that the
    /// product's expectation is the expectations' product; not with `woodbury`.
    pub independent_minibatches: bool,
}

impl Default for StackelbergConfig {
    fn default() -> Self {
        Self {
            solver: SolverKind::Woodbury,
            curvature: None,
            lam: None,
            lam_unit: LamUnit::Absolute,
            lam_decay: LambdaDecay::None,
            cg_iterations: 10,
            cg_tolerance: 1e-6,
            curvature_stop: true,
            warm_start: false,
            solver_rank: 10,
            norm_ratio_clamp: None,
            independent_minibatches: false,
        }
    }
}

impl Record for StackelbergConfig {
    fn check(&self) -> Result<()> {
        let woodbury = self.solver == SolverKind::Woodbury;
        if woodbury && self.curvature == Some(Curvature::Hessian) {
            return Err(Error::config("curvature", "hessian", HESSIAN_WITH_WOODBURY));
        }
        if self.lam == Some(0.0) && self.solver == SolverKind::Nystrom {
            let reason = "`nystrom` needs it above 0: its low-rank matrix has no inverse without";
            return Err(Error::config("lam", 0.0, reason));
        }
        if self.independent_minibatches && woodbury {
            let reason = "`woodbury` takes all factors from one Gram matrix; another solver can have them apart";
            return Err(Error::config("independent_minibatches", true, reason));
        }
        Ok(())
    }
}

const HESSIAN_WITH_WOODBURY: &str =
    "`woodbury` solves with the Gauss-Newton matrix; take `cg` for the full Hessian";

impl StackelbergConfig {
    /// What of `settings` has no meaning with the solver that they name, and why.
    pub fn foreign(settings: &Settings) -> Vec<(String, String)> {
        let schema = schema::of::<Self>();
        let solver = settings.get("solver").unwrap_or(&schema["properties"]["solver"]["default"]);
        let (Some(name), Ok(kind)) = (solver.as_str(), SolverKind::deserialize(solver)) else {
            return Vec::new();
        };
        let mut foreign = Vec::new();
        for (key, declared) in schema::properties(&schema) {
            let others = declared.get("x-solvers").and_then(Value::as_array);
            if let Some(others) = others.filter(|others| !others.contains(solver)) {
                let others: Vec<_> = others.iter().filter_map(Value::as_str).collect();
                let others = others.join("` and `");
                foreign
                    .push((key.clone(), format!("it is a setting of `{others}`, not of `{name}`")));
            }
        }
        let hessian = settings.get("curvature").and_then(Value::as_str) == Some("hessian");
        if kind == SolverKind::Woodbury && hessian {
            foreign.push(("curvature".to_owned(), HESSIAN_WITH_WOODBURY.to_owned()));
        }
        foreign.retain(|(key, _)| settings.contains_key(key));
        foreign
    }

    /// These settings with nothing left to a default, without those of other solvers.
    pub fn resolved(&self) -> Result<Settings> {
        let (curvature, lam) = (Some(self.curvature()), Some(self.lam()));
        let Value::Object(mut settings) = to_value(&Self { curvature, lam, ..self.clone() })?
        else {
            return Ok(Settings::new());
        };
        for (key, _) in Self::foreign(&settings) {
            settings.shift_remove(&key);
        }
        Ok(settings)
    }

    /// An error if these settings need outputs of the follower, which `lacking` keeps it from having.
    pub fn refuse_gauss_newton(&self, lacking: &str) -> Result<()> {
        let (key, value) = match (self.solver, self.curvature()) {
            (SolverKind::Woodbury, _) => ("solver", "woodbury"),
            (_, Curvature::GaussNewton) => ("curvature", "gauss_newton"),
            _ => return Ok(()),
        };
        let reason = format!(
            "Gauss-Newton does not cover an actor with {lacking}; take `cg` with `curvature: hessian`"
        );
        Err(Error::config(key, value, reason))
    }

    /// Which matrix stands for the follower's Hessian.
    pub fn curvature(&self) -> Curvature {
        self.curvature.unwrap_or(match self.solver {
            SolverKind::Woodbury => Curvature::GaussNewton,
            _ => Curvature::Hessian,
        })
    }

    /// Lambda at the start.
    pub fn lam(&self) -> f64 {
        self.lam.unwrap_or(match (self.lam_unit, self.solver) {
            (LamUnit::MeanEigenvalue, _) => 1.0,
            (LamUnit::Absolute, SolverKind::Woodbury) => 0.1,
            (LamUnit::Absolute, _) => 100.0,
        })
    }

    /// The solver's share of the settings; `seed` is the run's.
    pub fn solver_config(&self, seed: u64) -> SolverConfig {
        SolverConfig {
            kind: self.solver,
            curvature: self.curvature(),
            lam_unit: self.lam_unit,
            iterations: self.cg_iterations,
            tolerance: self.cg_tolerance,
            curvature_stop: self.curvature_stop,
            warm_start: self.warm_start,
            rank: self.solver_rank,
            seed,
        }
    }
}

/// By how much an adaptive lambda changes per update, and how far it may go from its start.
const ADAPTATION: f64 = 1.01;
const ADAPTIVE_RANGE: [f64; 2] = [1e-3, 1e3];

/// Lambda over the course of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Damping {
    start: f64,
    decay: LambdaDecay,
}

impl Damping {
    /// As the leader's settings say.
    pub fn new(config: &StackelbergConfig) -> Self {
        Self { start: config.lam(), decay: config.lam_decay }
    }

    /// The same lambda at all times.
    pub fn constant(lambda: f64) -> Self {
        Self { start: lambda, decay: LambdaDecay::None }
    }

    /// Lambda after `t` environment steps; `factor` is what an adaptive one has come to, in units of its start.
    pub fn lambda(&self, t: u64, factor: f64) -> f64 {
        match self.decay {
            LambdaDecay::None => self.start,
            // lambda_t = lambda exp(-t / 1e5)
            LambdaDecay::Exponential => self.start * (-(t as f64) / 1e5).exp(),
            LambdaDecay::Adaptive => self.start * factor,
        }
    }

    /// The factor after an update, adapted as Levenberg (1944) and Marquardt (1963) do to whether a step was good: more
    /// damping where the follower's curvature cannot be trusted, less elsewhere.
    pub(super) fn adapted(factor: f64, solve: &SolveInfo, norms: &Norms) -> f64 {
        let bad = solve.fallback || solve.negative_curvature || norms.ratio() > 1.0;
        let factor = if bad { factor * ADAPTATION } else { factor / ADAPTATION };
        factor.clamp(ADAPTIVE_RANGE[0], ADAPTIVE_RANGE[1])
    }
}
