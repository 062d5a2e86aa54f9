//! Settings of the leader's update, common to all Stackelberg forms.

use super::solvers::{Curvature, Solve, SolverConfig, SolverKind};
use super::total_derivative::Norms;
use crate::error::{Error, Result};
use crate::settings::{Settings, at_least_one, not_negative, parse, positive};
use serde::{Deserialize, Serialize};

/// How the damping `lam` evolves with environment steps `t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LambdaDecay {
    /// It stays.
    None,
    /// `lam exp(-t / 1e5)`
    Exponential,
    /// It grows after updates whose solve went wrong or whose implicit term outweighs the individual
    /// gradient, and shrinks after others.
    Adaptive,
}

/// How the leader's total derivative is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StackelbergConfig {
    /// How the leader's linear system is solved.
    pub solver: SolverKind,
    /// Which matrix stands for the follower's Hessian.
    pub curvature: Curvature,
    /// Damping lambda; 0.1 for `woodbury` and 100 for the other solvers if not given.
    pub lam: Option<f64>,
    /// How lambda evolves.
    pub lam_decay: LambdaDecay,
    /// Iterations of `cg` and `neumann` at most.
    pub cg_iterations: usize,
    /// Relative residual at which `cg` and `neumann` stop.
    pub cg_tolerance: f64,
    /// Rank of `nystrom`'s approximation, at most.
    pub solver_rank: usize,
    /// Whether the solver stops at the first direction of non-positive curvature.
    pub curvature_stop: bool,
    /// Whether the solver starts from its last solution.
    pub warm_start: bool,
    /// Bound of the implicit term's norm, in units of the individual gradient's.
    pub norm_ratio_clamp: Option<f64>,
    /// Whether each factor of the implicit term is estimated from a minibatch of its own.
    pub independent_minibatches: bool,
}

impl Default for StackelbergConfig {
    fn default() -> Self {
        Self {
            solver: SolverKind::Cg,
            curvature: Curvature::Hessian,
            lam: None,
            lam_decay: LambdaDecay::None,
            cg_iterations: 10,
            cg_tolerance: 1e-6,
            solver_rank: 10,
            curvature_stop: true,
            warm_start: false,
            norm_ratio_clamp: None,
            independent_minibatches: false,
        }
    }
}

impl StackelbergConfig {
    /// Takes its own keys out of `settings` and reads them over `defaults`.
    pub(crate) fn take(defaults: &Self, settings: &mut Settings) -> Result<Self> {
        let is_own = |key: &str| serde_json::to_value(defaults).is_ok_and(|v| v.get(key).is_some());
        let (own, others) = std::mem::take(settings).into_iter().partition(|(key, _)| is_own(key));
        *settings = others;
        parse(defaults, &own)
    }

    /// Checks every range.
    pub(crate) fn validate(&self) -> Result<()> {
        at_least_one("cg_iterations", self.cg_iterations)?;
        at_least_one("solver_rank", self.solver_rank)?;
        not_negative("cg_tolerance", self.cg_tolerance)?;
        if let Some(lam) = self.lam {
            not_negative("lam", lam)?;
            if lam == 0.0 && self.solver == SolverKind::Nystrom {
                let reason =
                    "`nystrom` needs it above 0: its low-rank matrix has no inverse without";
                return Err(Error::config("lam", lam, reason));
            }
        }
        if let Some(clamp) = self.norm_ratio_clamp {
            positive("norm_ratio_clamp", clamp)?;
        }
        if self.independent_minibatches && self.solver == SolverKind::Woodbury {
            let reason = "`woodbury` takes all factors from one Gram matrix; another solver can have them apart";
            return Err(Error::config("independent_minibatches", true, reason));
        }
        Ok(())
    }

    /// An error if these settings need a follower that fits targets.
    pub(crate) fn refuse_gauss_newton(&self) -> Result<()> {
        let (key, value) = match (self.solver, self.curvature) {
            (SolverKind::Woodbury, _) => ("solver", "woodbury"),
            (_, Curvature::GaussNewton) => ("curvature", "gauss_newton"),
            _ => return Ok(()),
        };
        let reason = "Gauss-Newton needs a follower that fits targets, and the actor does not; take `cg` \
                      with `curvature: hessian`";
        Err(Error::config(key, value, reason))
    }

    /// Lambda at the start.
    fn initial_lambda(&self) -> f64 {
        self.lam.unwrap_or(match self.solver {
            SolverKind::Woodbury => 0.1,
            _ => 100.0,
        })
    }

    /// The solver's share of the settings; `seed` is the run's.
    pub fn solver_config(&self, seed: u64) -> SolverConfig {
        SolverConfig {
            kind: self.solver,
            curvature: self.curvature,
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
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Damping {
    start: f64,
    decay: LambdaDecay,
    /// What an adaptive lambda has come to, in units of `start`.
    pub(crate) factor: f64,
}

impl Damping {
    pub(crate) fn new(config: &StackelbergConfig) -> Self {
        Self { start: config.initial_lambda(), decay: config.lam_decay, factor: 1.0 }
    }

    /// Takes the settings of `new`; what an adaptive lambda has come to stays.
    pub(crate) fn adopt(&mut self, new: Self) {
        *self = Self { factor: self.factor, ..new };
    }

    /// Lambda after `t` environment steps.
    pub(crate) fn lambda(&self, t: u64) -> f64 {
        match self.decay {
            LambdaDecay::None => self.start,
            // lambda_t = lambda exp(-t / 1e5)
            LambdaDecay::Exponential => self.start * (-(t as f64) / 1e5).exp(),
            LambdaDecay::Adaptive => self.start * self.factor,
        }
    }

    /// Adapts to how an update went, as Levenberg (1944) and Marquardt (1963) do to whether a step
    /// was good: more damping where the follower's curvature cannot be trusted, less elsewhere.
    pub(crate) fn adapt(&mut self, solve: &Solve, norms: &Norms) {
        let bad = solve.fallback || solve.negative_curvature || norms.ratio() > 1.0;
        let factor = if bad { self.factor * ADAPTATION } else { self.factor / ADAPTATION };
        self.factor = factor.clamp(ADAPTIVE_RANGE[0], ADAPTIVE_RANGE[1]);
    }
}
