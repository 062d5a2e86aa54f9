//! Several Gymnasium environments at once, in forked processes. Threads of one process would share the GIL and wait
//! for it before and after every physics step, which takes longer than the Python code in between.

mod pipe;

use crate::env::{EnvOptions, GymEnv};
use crate::error::attached;
use crate::signals::leave_to_parent;
use agents::sync_vec_env::SyncVecEnv;
use agents::{Env, EnvState, Error, Restored, Result, Resumable, Spaces, Step};
use pipe::{Answer, Pipe, Request};
use pyo3::prelude::*;
use rustix::process::{Pid, getpid};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// `n` Gymnasium environments as one [`Env`]. They are split evenly among the cores: the first part is stepped in this
/// process, each other part in a process forked from it. Row `i` is always environment `i`, so that results depend only
/// on seeds and `n`.
pub struct ForkedVecEnv {
    own: SyncVecEnv<GymEnv>,
    own_step: Step,
    children: Vec<Child>,
    num_envs: usize,
}

/// A forked process and its environments.
struct Child {
    process: i32,
    pipe: Pipe,
    /// Index of its first environment among all `n`.
    first: usize,
    num_envs: usize,
    step: Step,
}

impl ForkedVecEnv {
    /// Calls `gymnasium.make(id, **kwargs)` `n` times. Call it before this process has threads that hold locks, and from
    /// a thread that lasts as long as the environments: its end ends their processes.
    ///
    /// # Errors
    /// [`Error::Config`] if `n` is 0 or a process cannot be started, otherwise as [`GymEnv::make`].
    pub fn make(options: &EnvOptions, n: usize) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, Into::into);
        Self::make_in(options, n, cores)
    }

    /// As [`make`](Self::make), in at most `processes` processes instead of one per core.
    ///
    /// # Errors
    /// As [`make`](Self::make).
    pub fn make_in(options: &EnvOptions, n: usize, processes: usize) -> Result<Self> {
        let per_process = n.div_ceil(processes.max(1));
        // Fork before this process makes its own environments, which children must not inherit. All processes then
        // make theirs at the same time.
        let mut children = Vec::new();
        for first in (0..n).step_by(per_process.max(1)).skip(1) {
            let child = Child::fork(options, first, per_process.min(n - first), &mut children)?;
            children.push(child);
        }
        let own = make_envs(options, per_process)?;
        let spaces = own.spaces().clone();
        for child in &mut children {
            child.pipe.receive()?.done()?;
            child.step = Step::new(child.num_envs, spaces.obs_dim);
        }
        Ok(Self { own_step: Step::new(own.num_envs(), spaces.obs_dim), own, children, num_envs: n })
    }

    /// In how many processes its environments are, this one among them.
    pub fn processes(&self) -> usize {
        1 + self.children.len()
    }
}

fn make_envs(options: &EnvOptions, n: usize) -> Result<SyncVecEnv<GymEnv>> {
    SyncVecEnv::new((0..n).map(|_| GymEnv::make(options)).collect::<Result<_>>()?)
}

impl Env for ForkedVecEnv {
    fn spaces(&self) -> &Spaces {
        self.own.spaces()
    }

    fn num_envs(&self) -> usize {
        self.num_envs
    }

    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        let obs_dim = self.spaces().obs_dim;
        for child in &mut self.children {
            let seed = seed.map(|seed| seed.wrapping_add(child.first as u64));
            child.pipe.ask(Request::Reset(seed))?;
        }
        let (own_obs, rest) = obs.split_at_mut(self.own.num_envs() * obs_dim);
        let mut result = self.own.reset(seed, own_obs);
        let first = self.own.num_envs();
        for child in &mut self.children {
            let (start, len) = ((child.first - first) * obs_dim, child.step.obs.len());
            let obs = &mut rest[start..start + len];
            let answer = child.pipe.receive().and_then(|answer| answer.observations(obs));
            result = result.and(answer);
        }
        result
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        if self.children.is_empty() {
            return self.own.step(actions, step);
        }
        let m = self.spaces().action.dim();
        for child in &mut self.children {
            let rows = child.first..child.first + child.step.rewards.len();
            child.pipe.ask(Request::Step(&actions[rows.start * m..rows.end * m]))?;
        }
        let own_actions = &actions[..self.own.num_envs() * m];
        let mut result = self.own.step(own_actions, &mut self.own_step);
        step.copy_rows(0, &self.own_step);
        for child in &mut self.children {
            let answer = child.pipe.receive().and_then(|answer| answer.step(&mut child.step));
            step.copy_rows(child.first, &child.step);
            result = result.and(answer);
        }
        result
    }
}

impl Resumable for ForkedVecEnv {
    fn record(&mut self) -> Result<()> {
        for child in &mut self.children {
            child.pipe.ask(Request::Record)?;
        }
        let mut result = self.own.record();
        for child in &mut self.children {
            result = result.and(child.pipe.receive().and_then(|answer| answer.done()));
        }
        result
    }

    fn save(&mut self) -> Result<Vec<EnvState>> {
        for child in &mut self.children {
            child.pipe.ask(Request::Save)?;
        }
        let mut states = self.own.save();
        for child in &mut self.children {
            let more = child.pipe.receive().and_then(|answer| answer.states());
            states = states.and_then(|states| Ok([states, more?].concat()));
        }
        states
    }

    fn restore(&mut self, states: &[EnvState], obs: &mut [f32]) -> Result<Vec<Restored>> {
        if states.len() != self.num_envs {
            return Err(Error::EnvCount { expected: self.num_envs, found: states.len() });
        }
        let obs_dim = self.spaces().obs_dim;
        let (own_states, _) = states.split_at(self.own.num_envs());
        for child in &mut self.children {
            let states = &states[child.first..child.first + child.num_envs];
            child.pipe.ask(Request::Restore(states.to_vec()))?;
        }
        let (own_obs, mut rest) = obs.split_at_mut(own_states.len() * obs_dim);
        let mut restored = self.own.restore(own_states, own_obs);
        for child in &mut self.children {
            let (obs, others) = rest.split_at_mut(child.num_envs * obs_dim);
            rest = others;
            let more = child.pipe.receive().and_then(|answer| answer.restored(obs));
            restored = restored.and_then(|restored| Ok([restored, more?].concat()));
        }
        restored
    }
}

impl Child {
    /// Forks a process that makes `n` environments, reports whether that worked, and then steps them. The child closes
    /// its copies of the parent's pipes, so that each child notices when the parent closes its own pipe.
    fn fork(options: &EnvOptions, first: usize, n: usize, earlier: &mut [Self]) -> Result<Self> {
        let unable = |error| Error::config("n_envs", first + n, format!("no process: {error}"));
        let (mut ours, theirs) = Pipe::pair().map_err(unable)?;
        let parent = getpid();
        let process = attached("the start of a process", |py| {
            // Otherwise both processes would write what is still buffered.
            flush(py)?;
            // Python >= 3.12 warns because numpy's BLAS has threads. They are idle and hold no lock.
            let about = ("ignore", ".*multi-threaded, use of fork");
            py.import("warnings")?.call_method1("filterwarnings", about)?;
            let process = py.import("os")?.call_method0("fork")?.extract()?;
            if process == 0 {
                earlier.iter_mut().for_each(|child| child.pipe.detach());
                ours.detach();
                // Python 3.11 fails if its last thread detaches completely and attaches again, so this thread stays
                // registered while it releases the GIL.
                py.detach(|| run_child(options, n, theirs, parent));
            }
            Ok(process)
        })?;
        Ok(Self { process, pipe: ours, first, num_envs: n, step: Step::default() })
    }
}

/// What a forked process does, to its end. It never returns: the parent's code must not run twice, whatever happens.
fn run_child(options: &EnvOptions, n: usize, pipe: Pipe, parent: Pid) -> ! {
    let served = catch_unwind(AssertUnwindSafe(|| serve(options, n, pipe, parent)));
    leave(served.is_ok())
}

/// Answers requests until the parent closes the pipe.
fn serve(options: &EnvOptions, n: usize, mut pipe: Pipe, parent: Pid) {
    let ignored = attached("the start of a process", |py| leave_to_parent(py, parent));
    let mut envs = match ignored.and_then(|()| make_envs(options, n)) {
        Ok(envs) => envs,
        Err(error) => {
            // The parent may be gone already.
            let _ = pipe.answer(Answer::Failed(&error));
            return;
        }
    };
    let spaces = envs.spaces();
    let mut actions = vec![0.0; n * spaces.action.dim()];
    let mut step = Step::new(n, spaces.obs_dim);
    let mut sent = pipe.answer(Answer::Done);
    while sent.is_ok() {
        sent = match pipe.listen(&mut actions) {
            Err(_) => return,
            Ok(Request::Reset(seed)) => match envs.reset(seed, &mut step.obs) {
                Ok(()) => pipe.answer(Answer::Observations(&step.obs)),
                Err(error) => pipe.answer(Answer::Failed(&error)),
            },
            Ok(Request::Step(actions)) => match envs.step(actions, &mut step) {
                Ok(()) => pipe.answer(Answer::Step(&step)),
                Err(error) => pipe.answer(Answer::Failed(&error)),
            },
            Ok(Request::Record) => match envs.record() {
                Ok(()) => pipe.answer(Answer::Done),
                Err(error) => pipe.answer(Answer::Failed(&error)),
            },
            Ok(Request::Save) => match envs.save() {
                Ok(states) => pipe.answer(Answer::States(&states)),
                Err(error) => pipe.answer(Answer::Failed(&error)),
            },
            Ok(Request::Restore(states)) => match envs.restore(&states, &mut step.obs) {
                Ok(restored) => pipe.answer(Answer::Restored(&step.obs, &restored)),
                Err(error) => pipe.answer(Answer::Failed(&error)),
            },
        };
    }
}

fn flush(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    for stream in ["stdout", "stderr"] {
        sys.getattr(stream)?.call_method0("flush")?;
    }
    Ok(())
}

/// Ends this process without running the parent's exit handlers.
fn leave(well: bool) -> ! {
    let _ = attached("the end of a process", |py| {
        flush(py)?;
        py.import("os")?.call_method1("_exit", (i32::from(!well),)).map(drop)
    });
    std::process::abort()
}

impl Drop for Child {
    /// Closes the pipe, which ends the process. If it has not ended after a second, it is killed.
    fn drop(&mut self) {
        self.pipe.close();
        let ended = attached("the end of a process", |py| {
            let os = py.import("os")?;
            for _ in 0..100 {
                let ended = os.call_method1("waitpid", (self.process, os.getattr("WNOHANG")?))?;
                if ended.get_item(0)?.extract::<i32>()? == self.process {
                    return Ok(());
                }
                py.detach(|| std::thread::sleep(Duration::from_millis(10)));
            }
            let kill = py.import("signal")?.getattr("SIGKILL")?;
            os.call_method1("kill", (self.process, kill))?;
            os.call_method1("waitpid", (self.process, 0)).map(drop)
        });
        if let Err(error) = ended {
            tracing::warn!(%error, "an environment's process did not end");
        }
    }
}
