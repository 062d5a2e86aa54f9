//! A sweep on this machine: some processes at a time, each on cores of its own.

use super::claim::{BEAT, Claim};
use super::plan::Planned;
use super::state::{State, states, table};
use crate::commands::pool::{Ended, Pool, Task, lock};
use crate::cores;
use crate::display;
use crate::failure::Failure;
use indicatif::ProgressBar;
use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How often the screen and the claims are looked after.
const TICK: Duration = Duration::from_millis(200);

/// Trains what is not done, `jobs` at a time; what fails is tried again `retries` times.
///
/// # Errors
/// [`Failure::Sweep`] if something failed for good, and that of a signal.
pub fn run(all: &[Planned], jobs: usize, retries: u32, quiet: bool) -> Result<(), Failure> {
    let todo: VecDeque<_> =
        all.iter().filter(|run| State::of(run) != State::Done).map(|run| (run, 0)).collect();
    if todo.is_empty() {
        if !quiet {
            say!("{} runs, all done", all.len());
        }
        return Ok(());
    }
    let threads = all.iter().map(|run| usize::from(run.job.threads)).max().unwrap_or(1);
    let jobs = jobs.min(todo.len());
    let steps = todo.iter().map(|(run, _)| run.job.config.run.n_timesteps).sum();
    let pool = Pool::new(quiet)?;
    let whole = pool.bars.add(display::bar(steps, format!("{} runs ", todo.len())));
    let sweep = Sweep {
        pool,
        whole,
        quiet,
        retries,
        todo: Mutex::new(todo),
        current: Mutex::default(),
        ended: Mutex::new(0),
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let workers: Vec<_> = cores::shared(&cores::available(), jobs, threads)
            .into_iter()
            .map(|cores| scope.spawn(|| sweep.work(cores)))
            .collect();
        scope.spawn(|| sweep.look_after(&over));
        let failed =
            workers.into_iter().filter_map(|worker| worker.join().ok()).find_map(Result::err);
        over.store(true, SeqCst);
        failed.map_or(Ok(()), Err)
    })?;
    sweep.whole.finish_and_clear();
    sweep.conclude(all)
}

/// A sweep on its way.
struct Sweep<'a> {
    pool: Pool,
    /// Of all steps.
    whole: ProgressBar,
    quiet: bool,
    retries: u32,
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
            let Some(claim) = Claim::take(&run.job.folder)? else { continue };
            // Another may have just trained it.
            if State::of_claimed(run) != State::Done {
                self.train(run, failed, claim, &cores);
            }
        }
        Ok(())
    }

    fn train(&self, run: &'a Planned, failed: u32, claim: Claim, cores: &[usize]) {
        let steps = run.job.config.run.n_timesteps;
        let bar = display::bar(steps, format!("{} ", run.name()));
        let bar = self.pool.bars.insert_before(&self.whole, bar);
        lock(&self.current).insert(run.name(), (claim, bar.clone()));
        let task = Task {
            name: run.name(),
            words: run.words.iter().map(Into::into).collect(),
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
            Ended::Failed(_) if failed < self.retries => {
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
        if wrong || !self.quiet {
            self.pool.tell(line);
        }
    }

    /// Says what is left.
    fn conclude(&self, all: &[Planned]) -> Result<(), Failure> {
        let states = states(all);
        let done = states.iter().filter(|(_, state)| *state == State::Done).count();
        if !self.quiet {
            match done == all.len() {
                true => say!("{done} runs, all done"),
                false => say!("{}", table(&states)),
            }
        }
        bridge::check_signals()?;
        let failed = states
            .iter()
            .filter(|(_, state)| matches!(state, State::Failed(_) | State::Other(_)))
            .count();
        let left = states
            .iter()
            .filter(|(_, state)| matches!(state, State::Interrupted | State::Missing))
            .count();
        match failed + left {
            0 => Ok(()),
            failed => Err(Failure::Sweep { failed, runs: all.len() }),
        }
    }
}
