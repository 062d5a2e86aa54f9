//! The command-line options, as clap parses them.

use crate::config::Overrides;
use crate::consent::Consent;
use crate::harness::Harness;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  stac-bench --env Walker2d-v4 --algo stddpg-al
  stac-bench --env HalfCheetah-v4 --algo ddpg --steps 50000 --seed 1
  stac-bench --env Hopper-v4 --algo stddpg-al --seeds 3 --jobs 2
  stac-bench --env Walker2d-v4 --algo stddpg-al --set solver=cg --set lam=100
  stac-bench --env Walker2d-v4 --algo stddpg-al --resume
  stac-bench resume runs/stddpg-al/Walker2d-v4_0
  stac-bench sweep grid.yml --jobs 2
  stac-bench sweep grid.yml --on slurm --slurm partition=long time=04:00:00
  stac-bench report runs/grid
  stac-bench --env MyEnv-v0 --env-import my_package --algo ddpg
  stac-bench settings stddpg-al --env Walker2d-v4
  stac-bench eval runs/stddpg-al/Walker2d-v4_0 --episodes 10
  stac-bench toy
  tensorboard --logdir runs";

/// Stackelberg actor-critic algorithms on Gymnasium environments.
#[derive(Debug, Parser)]
#[command(
    name = "stac-bench",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    args_override_self = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    /// What to do; without it, train.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Training, the command that needs no name.
    #[command(flatten)]
    pub train: TrainArgs,
    /// More detail: Python tracebacks, and debugging messages at -vv
    #[arg(short, long, action = clap::ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Print the versions of stac-bench, libtorch and Python
    #[arg(short = 'V', long, exclusive = true)]
    pub version: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train an agent
    #[command(after_help = EXAMPLES, args_override_self = true)]
    Train(Box<TrainArgs>),
    /// Go on with a run that was stopped, or with more steps
    #[command(args_override_self = true)]
    Resume(ResumeArgs),
    /// Train every run of a grid that is not done yet
    #[command(args_override_self = true)]
    Sweep(SweepArgs),
    /// Compare runs: a page, pictures and tables, with intervals
    #[command(args_override_self = true)]
    Report(ReportArgs),
    /// Run a trained agent and print its returns
    Eval(EvalArgs),
    /// Draw the paper's motivating examples (no environment, no training)
    Toy(ToyArgs),
    /// List the algorithms
    Algos,
    /// Print an algorithm's settings, with the meaning, range and default of each
    #[command(args_override_self = true)]
    Settings(Box<SettingsArgs>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Options of `train`.
#[derive(Clone, Debug, Args)]
pub struct TrainArgs {
    /// Gymnasium id of the environment
    // `Option`, so that other commands go without; clap requires it of this one.
    #[arg(long, value_name = "ID", required = true)]
    pub env: Option<String>,
    /// Algorithm, one of `stac-bench algos`
    #[arg(long, value_name = "NAME", required = true)]
    pub algo: Option<String>,
    /// Seed of everything random in the run
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Train K seeds from S on, each in a process of its own
    #[arg(long, value_name = "K", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: Option<u64>,
    /// How many of them at a time
    #[arg(long, value_name = "J", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub jobs: u64,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: Overrides,
    /// Who trains, if not this program
    #[arg(long, value_enum)]
    pub harness: Option<Harness>,
    /// Where runs go
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Threads that compute gradients
    #[arg(long, value_name = "T", default_value_t = 1, allow_negative_numbers = true, value_parser = clap::value_parser!(u16).range(1..))]
    pub threads: u16,
    /// Python module that registers your environments; may be given several times
    #[arg(long, value_name = "MODULE")]
    pub env_import: Vec<String>,
    /// Replace an existing run of the same algorithm, environment and seed
    #[arg(long)]
    pub overwrite: bool,
    /// Go on where a run of the same command line stopped; start it where there is none
    #[arg(long, conflicts_with = "overwrite")]
    pub resume: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub checkpoints: CheckpointArgs,
    /// No progress, no summary
    #[arg(long)]
    pub quiet: bool,
    /// Train this one of several seeds, for the process that trains them all
    #[arg(long, value_name = "S", hide = true, requires = "parent")]
    pub report: Option<u64>,
    /// The process that trains them all: this one ends with it
    #[arg(long, value_name = "PID", hide = true)]
    pub parent: Option<i32>,
    /// The cores that this process keeps to
    #[arg(long, value_name = "CORES", hide = true, value_delimiter = ',')]
    pub cores: Vec<usize>,
}

/// When checkpoints are written, and how long they stay.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct CheckpointArgs {
    /// Environment steps between checkpoints, 0 for none [default: at every evaluation]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub checkpoint_freq: Option<u64>,
    /// Keep the last checkpoints after a good end, so that `resume --steps` can extend the run
    #[arg(long)]
    pub keep_checkpoint: bool,
}

impl TrainArgs {
    /// Gymnasium id of the environment.
    pub fn env(&self) -> &str {
        self.env.as_deref().unwrap_or_default()
    }

    /// Name of the algorithm.
    pub fn algo(&self) -> &str {
        self.algo.as_deref().unwrap_or_default()
    }
}

/// Options of `resume`.
#[derive(Clone, Debug, Args)]
pub struct ResumeArgs {
    /// Folder of a run, for instance runs/stddpg-al/Walker2d-v4_0
    pub run_dir: PathBuf,
    /// Environment steps in all, to extend the run [default: as it was started]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub steps: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub checkpoints: CheckpointArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub consent: Consent,
    /// No progress, no summary
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `sweep`.
#[derive(Clone, Debug, Args)]
pub struct SweepArgs {
    /// YAML file with `name`, `envs`, `seeds`, `steps`, `runs` (see docs/experiments.md)
    pub file: PathBuf,
    /// Where runs go, each below the grid's name and its label
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// What trains them
    #[arg(long, value_enum, default_value_t)]
    pub on: Place,
    /// Options of `sbatch`, such as `partition=long time=04:00:00 mem=4G`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1..)]
    pub slurm: Vec<String>,
    /// Where the Ray cluster is [default: that of RAY_ADDRESS, or one on this machine]
    #[arg(long, value_name = "HOST:PORT")]
    pub address: Option<String>,
    /// How many runs at a time [default: as many as there are cores; with SLURM and Ray, as there is room for]
    #[arg(long, value_name = "J", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub jobs: Option<u64>,
    /// How often a run that failed is tried again
    #[arg(long, value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub retries: u32,
    /// Print how far each run is, and do nothing
    #[arg(long, conflicts_with = "dry_run")]
    pub status: bool,
    /// Print what would be done: folders, commands, and how long it takes, from a few seconds of training
    #[arg(long)]
    pub dry_run: bool,
    /// No progress, no summary
    #[arg(long)]
    pub quiet: bool,
    /// Train this run of the plan alone, whoever asks for it
    #[arg(long, value_name = "N", hide = true)]
    pub only: Option<usize>,
    /// The process that asks for it: this one ends with it
    #[arg(long, value_name = "PID", hide = true, requires = "only")]
    pub parent: Option<i32>,
}

/// What trains the runs of a grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// Processes on this machine
    #[default]
    Local,
    /// A job array of SLURM
    Slurm,
    /// Tasks of a Ray cluster
    Ray,
}

/// Options of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArgs {
    /// Folders that hold runs, at any depth
    #[arg(value_name = "DIR", required = true)]
    pub folders: Vec<PathBuf>,
    /// Where the report goes [default: `report` in the first of them]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The run that others are compared to [default: the one plain baseline among them]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,
    /// Show every seed's curve from the start
    #[arg(long)]
    pub every_seed: bool,
    /// Compare runs that have not ended well, too
    #[arg(long)]
    pub unfinished: bool,
    /// Print nothing but errors
    #[arg(long)]
    pub quiet: bool,
}

/// Options of `settings`.
#[derive(Clone, Debug, Args)]
pub struct SettingsArgs {
    /// Algorithm, one of `stac-bench algos`
    // `Option`, so that the documentation goes without; clap requires it otherwise.
    #[arg(required = true)]
    pub algo: Option<String>,
    /// Gymnasium id of the environment [default: what holds for all]
    #[arg(long, value_name = "ID")]
    pub env: Option<String>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub overrides: Overrides,
    /// Python module that registers your environments; may be given several times
    #[arg(long, value_name = "MODULE")]
    pub env_import: Vec<String>,
    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: SettingsFormat,
    /// Print `docs/settings.md`, of all algorithms
    #[arg(long, hide = true, exclusive = true)]
    pub document: bool,
}

/// How settings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SettingsFormat {
    /// A file for `--config`
    #[default]
    Yaml,
    /// What can be set, for editors and programs
    JsonSchema,
}

/// Options of `eval`.
#[derive(Clone, Debug, Args)]
pub struct EvalArgs {
    /// Folder of a run, for instance runs/stddpg-al/Walker2d-v4_0, or of one of its checkpoints
    pub run_dir: PathBuf,
    /// Episodes to run
    #[arg(long, value_name = "N", default_value_t = 10, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub episodes: u64,
    /// Seed of the environment
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Which model
    #[arg(long, value_enum, default_value_t)]
    pub model: Which,
    /// Environment steps after which an episode is cut
    #[arg(long, value_name = "N", default_value_t = 100_000, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    pub max_steps: u64,
    /// Write videos of the episodes to RUN_DIR/videos
    #[arg(long)]
    pub render: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub consent: Consent,
}

/// Options of `toy`.
#[derive(Clone, Debug, Args)]
pub struct ToyArgs {
    /// Where pictures and tables go
    #[arg(long, value_name = "DIR", default_value = "runs/toy")]
    pub out: PathBuf,
    /// Updates of every play [default: 50000, with entropy 2000]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub iterations: Option<u64>,
    /// Step size of both players
    #[arg(long, value_name = "A", default_value_t = 0.01, allow_negative_numbers = true, value_parser = positive)]
    pub learning_rate: f64,
    /// Damping λ of the regularised Stackelberg gradient
    #[arg(long, value_name = "L", default_value_t = 0.04, allow_negative_numbers = true, value_parser = not_negative)]
    pub lam: f64,
    /// Seed of the samples of the actor with entropy
    #[arg(long, value_name = "S", default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Replace pictures and tables that are there
    #[arg(long)]
    pub overwrite: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, "a finite number above 0", |x| x > 0.0)
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, "a finite number, 0 or above", |x| x >= 0.0)
}

fn number(text: &str, wanted: &str, fits: fn(f64) -> bool) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|&x: &f64| x.is_finite() && fits(x))
        .ok_or(format!("it must be {wanted}"))
}

/// Which of a run's models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Which {
    /// The one with the best evaluation
    #[default]
    Best,
    /// The one at the end of training
    Final,
    /// That of the newest checkpoint
    Checkpoint,
}
