//! Training that is stopped anywhere goes on as if it had not been.
#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used)]

mod common;

use agents::memory::MemoryMut;
use agents::registry;
use agents::train::{Flow, LoopState, Observer, Point, Progress};
use agents::{ActionSpace, Env, Error, Learn, Result, Spaces, Step};
use common::shipped::{has_setting, quick, shipped};
use serde_json::json;
use std::cell::Cell;

const STEPS: u64 = 90;

/// Two numbers that a push moves. It fails in the call of number `stop`.
struct World<'c> {
    spaces: Spaces,
    x: [f32; 2],
    t: u32,
    calls: &'c Calls,
}

/// Counts the calls at which a run can be stopped.
#[derive(Default)]
struct Calls {
    made: Cell<u64>,
    stop: Cell<u64>,
}

impl Calls {
    fn one(&self) -> Result<()> {
        self.made.set(self.made.get() + 1);
        if self.made.get() == self.stop.get() { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl Env for World<'_> {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn reset(&mut self, _: Option<u64>, obs: &mut [f32]) -> Result<()> {
        (self.x, self.t) = ([1.0, -0.5], 0);
        obs.copy_from_slice(&self.x);
        Ok(())
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        self.calls.one()?;
        self.t += 1;
        self.x = [0.9 * self.x[0] + 0.3 * actions[0], 0.5 * self.x[1] + 0.1 * self.x[0]];
        step.next_obs.copy_from_slice(&self.x);
        step.rewards[0] = f64::from(-self.x[0] * self.x[0]);
        step.truncated[0] = self.t == 17;
        step.obs.copy_from_slice(&self.x);
        if step.truncated[0] { self.reset(None, &mut step.obs) } else { Ok(()) }
    }
}

/// Can be stopped before it sees a step and before an update.
struct Watch<'c>(&'c Calls);

impl<E: ?Sized> Observer<dyn Learn, E> for Watch<'_> {
    fn on_step(&mut self, _: &mut Progress<'_, dyn Learn>) -> Result<Flow> {
        self.0.one()?;
        Ok(Flow::Continue)
    }

    fn before_update(&mut self) -> Result<()> {
        self.0.one()
    }

    fn after_updates(&mut self, _: &mut Point<'_, dyn Learn, E>) -> Result<Flow> {
        Ok(Flow::Continue)
    }
}

fn agent(algo: &str, spaces: &Spaces, seed: u64) -> Box<dyn Learn> {
    let settings = if has_setting(algo, "n_steps") {
        let small = json!({"n_steps": 25, "policy_kwargs": {"net_arch": [8]}});
        shipped(algo, &small)
    } else {
        quick(algo, &json!({"buffer_size": 50, "policy_kwargs": {"net_arch": [8]}}))
    };
    registry::find(algo).unwrap().build(&settings, spaces, seed).unwrap()
}

/// Another agent of the same settings that has what `agent` has, through bytes alone.
fn reborn(algo: &str, agent: &mut dyn Learn) -> Box<dyn Learn> {
    let mut other = self::agent(algo, agent.spaces(), 99);
    other.load_state(&agent.save_state().unwrap()).unwrap();
    match (agent.memory(), other.memory()) {
        (MemoryMut::Replay(from), MemoryMut::Replay(to)) => {
            let mut rows = Vec::new();
            from.write_rows(0..u64::MAX, &mut rows);
            to.read_rows(&rows);
            to.settle(from.place());
            assert_eq!(to, from);
        }
        (MemoryMut::Rollout(from), MemoryMut::Rollout(to)) => {
            let bytes = postcard::to_allocvec(&*from).unwrap();
            *to = postcard::from_bytes(&bytes).unwrap();
        }
        _ => unreachable!("one algorithm has one kind of memory"),
    }
    other
}

/// Trains `algo`, stopped at the calls `stops` and gone on from bytes each time. Returns its state and
/// the number of calls.
fn trained(algo: &str, stops: &[u64]) -> (Vec<u8>, u64) {
    let calls = Calls::default();
    let action = ActionSpace::Box { low: vec![-1.0], high: vec![1.0] };
    let spaces = Spaces::new(2, action);
    let mut world = World { spaces: spaces.clone(), x: [0.0; 2], t: 0, calls: &calls };
    let mut agent = agent(algo, &spaces, 3);
    let mut state = LoopState::start(&mut world, 3).unwrap();
    let mut stops = stops.iter();
    loop {
        calls.stop.set(stops.next().copied().unwrap_or(0));
        match state.run(&mut *agent, &mut world, STEPS, &mut Watch(&calls)) {
            Ok(()) => break,
            Err(error) => assert!(matches!(error, Error::Interrupted), "{error}"),
        }
        agent = reborn(algo, &mut *agent);
        state = postcard::from_bytes(&postcard::to_allocvec(&state).unwrap()).unwrap();
    }
    assert_eq!(state.steps, STEPS);
    (agent.save_state().unwrap(), calls.made.get())
}

#[test]
fn a_run_stopped_at_any_call_ends_as_one_that_was_not() {
    for algo in registry::ALGORITHMS.iter().map(|algorithm| algorithm.name) {
        let (whole, calls) = trained(algo, &[]);
        // The calls of each stop are repeated by the one that goes on.
        for stop in (1..calls).step_by(7) {
            assert!(trained(algo, &[stop]).0 == whole, "{algo}, stopped at call {stop}");
        }
        let many: Vec<u64> = (1..calls).step_by(13).collect();
        assert!(trained(algo, &many).0 == whole, "{algo}, stopped {} times", many.len());
    }
}

#[test]
fn a_state_of_another_agent_is_refused_and_changes_nothing() {
    let spaces = |obs_dim| {
        let action = ActionSpace::Box { low: vec![-1.0], high: vec![1.0] };
        Spaces::new(obs_dim, action)
    };
    for algo in registry::ALGORITHMS.iter().map(|algorithm| algorithm.name) {
        let mut agent = agent(algo, &spaces(2), 0);
        let before = agent.save_state().unwrap();
        let other = self::agent(algo, &spaces(3), 0).save_state().unwrap();
        for state in [&other[..], &before[..before.len() / 2], &[]] {
            let error = agent.load_state(state).unwrap_err();
            assert!(matches!(error, Error::State { .. }), "{algo}: {error}");
        }
        assert!(agent.save_state().unwrap() == before, "{algo}");
    }
}
