//! Who moves in which update.
#![allow(clippy::unwrap_used)]

mod common;

use agents::Result;
use agents::game::{
    Arena, Averaging, Damping, Direction, ImplicitTerm, Play, PlayState, Players, Rules,
    SolverConfig, UpdateOrder,
};
use agents::optim::OptimizerKind;
use agents::train_state::TrainState;
use common::quadratic::Quadratic;

struct Board(Quadratic);

impl Arena<f64> for Board {
    type Game<'a> = Quadratic;
    type Readings = ();

    fn freeze(&mut self, [leader, follower]: [&TrainState<f64>; 2]) -> Result<Quadratic> {
        self.0.x1.clone_from(&leader.params);
        self.0.x2.clone_from(&follower.params);
        Ok(self.0.clone())
    }

    fn read(_game: &mut Quadratic) -> Result<()> {
        Ok(())
    }
}

/// In which of the first 12 updates leader, follower, and the follower's average moved.
fn moved(every: [u64; 2], averages: u64, order: UpdateOrder) -> [Vec<u64>; 3] {
    let rules = Rules {
        direction: Direction::Individual,
        order,
        learning_rates: [0.01; 2],
        every,
        unroll: 1,
        norm_ratio_clamp: None,
        damping: Damping::constant(0.0),
        averaging: Some(Averaging { tau: 1.0, every: averages }),
    };
    let mut arena = Board(Quadratic::random(1, 3, 2));
    let mut play = Play::new(rules, ImplicitTerm::new(&SolverConfig::default()), [3, 2]);
    let new = |params: &[f64]| TrainState::new(params.to_vec(), OptimizerKind::Sgd, true);
    let (mut leader, mut follower) = (new(&arena.0.x1), new(&arena.0.x2));
    let (mut state, mut found) = (PlayState::default(), [const { Vec::new() }; 3]);
    for update in 0..12 {
        let before = [&leader.params, &follower.params, &follower.target].map(Clone::clone);
        let mut players = Players { leader: &mut leader, follower: &mut follower };
        play.step(&mut arena, &mut players, &mut state, update).unwrap();
        let after = [&leader.params, &follower.params, &follower.target];
        for (found, (before, after)) in found.iter_mut().zip(before.iter().zip(after)) {
            found.extend((before != after).then_some(update));
        }
    }
    found
}

#[test]
fn players_step_in_the_last_of_their_updates_and_averages_in_the_first_joint_one_of_theirs() {
    let all: Vec<u64> = (0..12).collect();
    for order in [UpdateOrder::Simultaneous, UpdateOrder::Sequential] {
        for (every, averages, leads, follows, average) in [
            ([1, 1], 1, &all[..], &all[..], &all[..]),
            ([1, 1], 3, &all, &all, &[0, 3, 6, 9]),
            ([2, 1], 1, &[1, 3, 5, 7, 9, 11], &all, &[1, 3, 5, 7, 9, 11]),
            ([2, 1], 2, &[1, 3, 5, 7, 9, 11], &all, &[1, 5, 9]),
            ([1, 3], 2, &all, &[2, 5, 8, 11], &[2, 8]),
            ([2, 4], 1, &[1, 3, 5, 7, 9, 11], &[3, 7, 11], &[3, 7, 11]),
        ] {
            let what = format!("{order:?}, every {every:?}, averages {averages}");
            assert_eq!(moved(every, averages, order), [leads, follows, average], "{what}");
        }
    }
}
