//! A sweep on this machine: some processes at a time, each on cores of its own.

use super::claim::{BEAT, Claim};
use super::plan::Planned;
use super::state::{State, states, table};
use crate::checkpoint;
use crate::commands::pool::{Ended, Pool, Task, lock};
use crate::cores;
use crate::display;
use crate::failure::Failure;
use indicatif::ProgressBar;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How often the screen and the claims are looked after.
const TICK: Duration = Duration::from_millis(200);

/// How runs are trained.
pub struct How {
    /// How many at a time.
    pub jobs: usize,
    /// How often a run that failed is tried again.
    pub retries: u32,
    /// No progress, no summary.
    pub quiet: bool,
    /// Whether a scheduler has started this process for this run: it keeps to the cores that it was given, and waits for
    /// the end of whoever is at the run.
    pub sent: bool,
}

/// Trains what is not done.
///
/// # Errors
/// [`Failure::Sweep`] if something failed for good, and that of a signal.
pub fn run(all: &[Planned], queued: &HashSet<PathBuf>, how: How) -> Result<(), Failure> {
    let (todo, rest): (Vec<_>, Vec<_>) =
        states(all, queued).into_iter().partition(|(_, state)| state.is_open());
    rest.iter().for_each(|(run, _)| Claim::clear(&run.job.folder));
    let todo: VecDeque<_> = todo.into_iter().map(|(run, _)| (run, 0)).collect();
    if todo.is_empty() {
        return conclude(all, queued, how.quiet);
    }
    let newest = |run: &Planned| checkpoint::generations(&run.job.folder).ok()?.pop();
    let before: Vec<_> = all.iter().map(newest).collect();
    let threads = all.iter().map(|run| usize::from(run.job.threads)).max().unwrap_or(1);
    let jobs = how.jobs.min(todo.len());
    let shared = match how.sent {
        true => vec![Vec::new(); jobs],
        false => cores::shared(&cores::available(), jobs, threads),
    };
    let steps = todo.iter().map(|(run, _)| run.job.config.run.n_timesteps).sum();
    let pool = Pool::new(how.quiet)?;
    let program = bridge::program()?.split_off(1);
    let whole = pool.bars.add(display::bar(steps, format!("{} runs ", todo.len())));
    let sweep = Sweep {
        pool,
        program,
        whole,
        how,
        todo: Mutex::new(todo),
        current: Mutex::default(),
        ended: Mutex::new(0),
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> =
            shared.into_iter().map(|cores| scope.spawn(|| sweep.work(cores))).collect();
        scope.spawn(|| sweep.look_after(&over));
        let ended: Vec<_> = workers.into_iter().filter_map(|worker| worker.join().ok()).collect();
        let failed = ended.into_iter().find_map(Result::err);
        over.store(true, SeqCst);
        failed.map_or(Ok(()), Err)
    })?;
    sweep.whole.finish_and_clear();
    match conclude(all, queued, sweep.how.quiet) {
        // A scheduler would try it again for ever.
        Err(failure) if failure.is_interruption() && sweep.how.sent => {
            let stuck = all.iter().zip(&before).find(|(run, before)| newest(run) == **before);
            Err(stuck.map_or(failure, |(run, _)| Failure::NoProgress(run.job.folder.clone())))
        }
        ended => ended,
    }
}

/// A sweep on its way.
struct Sweep<'a> {
    pool: Pool,
    /// What stands between the program's name and its arguments.
    program: Vec<OsString>,
    /// Of all steps.
    whole: ProgressBar,
    how: How,
    /// What waits, and how often each has failed.
    todo: Mutex<VecDeque<(&'a Planned, u32)>>,
    /// Claims and bars of what is running, by name.
    current: Mutex<HashMap<String, (Claim, ProgressBar)>>,
    /// The steps of what has ended.
    ended: Mutex<u64>,
}

impl<'a> Sweep<'a> {
    /// Takes one run after another.
    fn work(&self, cores: Vec<usize>) -> Result<(), Failure> {
        while !self.pool.is_stopping() {
            let Some((run, failed)) = lock(&self.todo).pop_front() else { break };
            let Some(claim) = self.claim(run)? else { continue };
            // Another may have just trained it.
            if State::of_claimed(run) != State::Done {
                self.train(run, failed, claim, &cores);
            }
        }
        Ok(())
    }

    /// Claims a run; none if it is another's.
    fn claim(&self, run: &Planned) -> Result<Option<Claim>, Failure> {
        loop {
            match Claim::take(&run.job.folder)? {
                None if self.how.sent && !self.pool.is_stopping() => std::thread::sleep(TICK),
                taken => return Ok(taken),
            }
        }
    }

    fn train(&self, run: &'a Planned, failed: u32, claim: Claim, cores: &[usize]) {
        let steps = run.job.config.run.n_timesteps;
        let bar = display::bar(steps, format!("{} ", run.name()));
        let bar = self.pool.bars.insert_before(&self.whole, bar);
        lock(&self.current).insert(run.name(), (claim, bar.clone()));
        let task = Task {
            name: run.name(),
            words: self.program.iter().cloned().chain(run.words.iter().map(Into::into)).collect(),
            seed: run.job.seed,
            folder: run.job.folder.clone(),
            cores: cores.to_vec(),
        };
        let ended = self.pool.train(&task, &bar);
        bar.finish_and_clear();
        self.pool.bars.remove(&bar);
        lock(&self.current).remove(&run.name());
        match ended {
            Ended::Done(last) => self.tell(&format!("{}: {last}", run.name()), false),
            Ended::Failed(_) if self.pool.is_stopping() => {}
            Ended::Failed(_) if failed < self.how.retries => {
                self.tell(&format!("{}: failed, and is tried again", run.name()), true);
                return lock(&self.todo).push_back((run, failed + 1));
            }
            Ended::Failed(how) => self.tell(&format!("{}: {how}", run.name()), true),
            Ended::NotStarted => {}
        }
        *lock(&self.ended) += steps;
    }

    /// Keeps the claims fresh and the bar of the whole right.
    fn look_after(&self, over: &AtomicBool) {
        let mut beat = Instant::now();
        while !over.load(SeqCst) {
            let current = lock(&self.current);
            let running: u64 = current.values().map(|(_, bar)| bar.position()).sum();
            self.whole.set_position(*lock(&self.ended) + running);
            if beat.elapsed() >= BEAT {
                beat = Instant::now();
                current.values().for_each(|(claim, _)| claim.beat());
            }
            drop(current);
            std::thread::sleep(TICK);
        }
    }

    fn tell(&self, line: &str, wrong: bool) {
        if wrong || !self.how.quiet {
            self.pool.tell(line);
        }
    }
}

/// Says what is left.
///
/// # Errors
/// [`Failure::Sweep`] if that is something.
pub fn conclude(all: &[Planned], queued: &HashSet<PathBuf>, quiet: bool) -> Result<(), Failure> {
    let states = states(all, queued);
    let done = states.iter().filter(|(_, state)| *state == State::Done).count();
    if !quiet {
        match done == all.len() {
            true => say!("{done} runs, all done"),
            false => say!("{}", table(&states)),
        }
    }
    bridge::check_signals()?;
    // What is running or queued is another's business.
    let is_well = |state: &State| matches!(state, State::Done | State::Running | State::Queued);
    match states.iter().filter(|(_, state)| !is_well(state)).count() {
        0 => Ok(()),
        failed => Err(Failure::Sweep { failed, runs: all.len() }),
    }
}
