//! Who moves in which update.
#![allow(clippy::unwrap_used)]

mod common;

use agents::Result;
use agents::game::{
    Arena, Averaging, Damping, Direction, ImplicitTerm, LeaderGradient, Play, PlayState, Players,
    Rules, SolverConfig, UpdateOrder,
};
use agents::optim::OptimizerKind;
use agents::rng::{Purpose, Rng};
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
    let mut noise = Rng::new(0, Purpose::Policy);
    for update in 0..12 {
        let before = [&leader.params, &follower.params, &follower.target].map(Clone::clone);
        let mut players = Players { leader: &mut leader, follower: &mut follower };
        play.step(&mut arena, &mut players, &mut state, &mut noise, update).unwrap();
        let after = [&leader.params, &follower.params, &follower.target];
        for (found, (before, after)) in found.iter_mut().zip(before.iter().zip(after)) {
            found.extend((before != after).then_some(update));
        }
    }
    found
}

/// The leader's gradient of `game` in this direction, and its two parts.
fn gradient(game: &mut Quadratic, direction: Direction, noise: &mut Rng) -> [Vec<f64>; 3] {
    let rules = Rules {
        direction,
        order: UpdateOrder::Simultaneous,
        learning_rates: [0.01; 2],
        every: [1; 2],
        unroll: 1,
        norm_ratio_clamp: None,
        damping: Damping::constant(0.1),
        averaging: None,
    };
    let dims = [game.x1.len(), game.x2.len()];
    let mut play = Play::new(rules, ImplicitTerm::new(&SolverConfig::default()), dims);
    play.leader_gradient(game, &mut PlayState::default(), noise, 0).unwrap();
    let LeaderGradient { individual, implicit, total, .. } = play.leader().clone();
    [total, individual, implicit]
}

#[test]
fn noise_in_the_place_of_the_term_has_its_size_in_each_weight_and_a_random_direction() {
    let mut game = Quadratic::random(3, 300, 4);
    let noise = &mut Rng::new(1, Purpose::Policy);
    let [_, individual, term] = gradient(&mut game, Direction::Total, noise);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let lengths = (dot(&individual, &individual) * dot(&term, &term)).sqrt();
    let draws = 2_000;
    let cosines: Vec<f64> = (0..draws)
        .map(|_| {
            let [total, own, drawn] = gradient(&mut game, Direction::Noise, noise);
            assert_eq!(own, individual);
            assert!(drawn.iter().zip(&term).all(|(drawn, term)| drawn.abs() == term.abs()));
            let parts = own.iter().zip(&drawn).map(|(own, drawn)| own - drawn);
            assert!(total.iter().zip(parts).all(|(total, parts)| *total == parts));
            dot(&drawn, &individual) / lengths
        })
        .collect();
    // Of independent signs: mean 0, variance sum_i (a_i b_i)^2 / (|a|^2 |b|^2).
    let mean = cosines.iter().sum::<f64>() / f64::from(draws);
    let variance = cosines.iter().map(|c| c * c).sum::<f64>() / f64::from(draws);
    let products = individual.iter().zip(&term).map(|(a, b)| (a * b).powi(2)).sum::<f64>();
    let expected = products / lengths.powi(2);
    assert!(mean.abs() < 4.0 * (expected / f64::from(draws)).sqrt(), "{mean}");
    assert!(
        (variance / expected - 1.0).abs() < 4.0 * (2.0 / f64::from(draws)).sqrt(),
        "{variance}"
    );
}

#[test]
fn noise_of_the_same_seed_is_the_same() {
    let mut game = Quadratic::random(3, 100, 4);
    let mut drawn = |seed| {
        let noise = &mut Rng::new(seed, Purpose::Policy);
        [0; 2].map(|_| gradient(&mut game, Direction::Noise, noise))
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));
    let [first, second] = drawn(1);
    assert_ne!(first, second);
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
