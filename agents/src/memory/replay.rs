//! The replay buffer: a ring of transitions, sampled uniformly with replacement.

use super::observations::{Observations, Row};
use crate::flat::Scalar;
use crate::rng::Rng;
use crate::spaces::{Numbers, Spaces};
use serde::{Deserialize, Serialize};

/// A minibatch of `size` transitions, row-major. Actions are in `[-1, 1]` per dimension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch<T> {
    /// Number of rows.
    pub size: usize,
    /// `size x obs_dim`
    pub obs: Vec<T>,
    /// `size x action_dim`
    pub actions: Vec<T>,
    /// `size`
    pub rewards: Vec<T>,
    /// `size x obs_dim`
    pub next_obs: Vec<T>,
    /// `size`; 1 where the task terminated, 0 elsewhere. Truncation does not count.
    pub dones: Vec<T>,
    /// Standard normal draws for the policy at `obs`, `size x action_dim`; empty if deterministic.
    pub noise: Vec<T>,
    /// Standard normal draws for the policy at `next_obs`; empty if deterministic.
    pub next_noise: Vec<T>,
}

/// A ring of at most `capacity` transitions. Memory is taken as it fills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    capacity: usize,
    action_dim: usize,
    next: usize,
    pushed: u64,
    observations: Observations,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    dones: Vec<f32>,
    /// 1 where an episode was cut short.
    timeouts: Vec<f32>,
    /// Whether rows on disk hold bytes as numbers, as the first versions wrote them.
    wide: bool,
}

impl Replay {
    /// An empty ring for at least one transition.
    pub fn new(capacity: usize, obs_dim: usize, action_dim: usize) -> Self {
        Self::holding(capacity, action_dim, Observations::new(obs_dim, Numbers::Any, false))
    }

    /// The same for transitions of `spaces`.
    pub fn of(capacity: usize, spaces: &Spaces) -> Self {
        let observations = Observations::new(spaces.obs_dim, spaces.numbers, false);
        Self::holding(capacity, spaces.action.dim(), observations)
    }

    fn holding(capacity: usize, action_dim: usize, observations: Observations) -> Self {
        Self {
            capacity: capacity.max(1),
            action_dim,
            next: 0,
            pushed: 0,
            observations,
            actions: Vec::new(),
            rewards: Vec::new(),
            dones: Vec::new(),
            timeouts: Vec::new(),
            wide: false,
        }
    }

    /// An empty memory that holds an observation once where it is seen after one step and before the next.
    pub fn sharing(&self) -> Self {
        let (dim, numbers) = (self.obs_dim(), self.observations.numbers());
        Self::holding(self.capacity, self.action_dim, Observations::new(dim, numbers, true))
    }

    /// The next step of the same environment comes `n` transitions later: there are `n` environments.
    pub fn set_stride(&mut self, n: usize) {
        self.observations.set_stride(n);
    }

    /// Numbers per observation.
    pub fn obs_dim(&self) -> usize {
        self.observations.dim()
    }

    /// Numbers per action.
    pub fn action_dim(&self) -> usize {
        self.action_dim
    }

    /// Bytes that `rows` transitions of `spaces` take.
    pub fn bytes(rows: u64, spaces: &Spaces) -> u128 {
        let one = Row::width(spaces.numbers, false, 2 * spaces.obs_dim);
        u128::from(rows) * (one + (spaces.action.dim() + 3) * size_of::<f32>()) as u128
    }

    /// Transitions held at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Transitions held.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Adds one transition, in place of the oldest when full. `end`: whether the task terminated,
    /// and whether the episode was cut short.
    pub fn push(
        &mut self,
        obs: &[f32],
        action: &[f32],
        reward: f32,
        next_obs: &[f32],
        end: (bool, bool),
    ) {
        let number = |flag| f32::from(u8::from(flag));
        let (done, timeout) = (number(end.0), number(end.1));
        if self.len() < self.capacity {
            self.observations.put(self.len(), self.capacity, obs, next_obs);
            self.actions.extend_from_slice(action);
            self.rewards.push(reward);
            self.dones.push(done);
            self.timeouts.push(timeout);
        } else {
            let (i, m) = (self.next, self.action_dim);
            self.observations.put(i, self.capacity, obs, next_obs);
            self.actions[i * m..(i + 1) * m].copy_from_slice(action);
            self.rewards[i] = reward;
            self.dones[i] = done;
            self.timeouts[i] = timeout;
        }
        self.next = (self.next + 1) % self.capacity;
        self.pushed += 1;
    }

    /// Transitions ever added, those since forgotten too.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// Bytes of one transition in [`Replay::write_rows`].
    pub fn row_bytes(&self) -> usize {
        self.row_bytes_if(self.wide)
    }

    fn row_bytes_if(&self, wide: bool) -> usize {
        let one = Row::width(self.observations.numbers(), wide, self.obs_dim());
        2 * one + 4 * (self.action_dim + 3)
    }

    /// Whether rows of `bytes` each can be read; from then on they are written so too.
    pub fn reads_rows_of(&mut self, bytes: usize) -> bool {
        self.wide = bytes != self.row_bytes_if(false);
        bytes == self.row_bytes()
    }

    /// Appends the transitions numbered `numbers` to `out`, those of them that are held: observation,
    /// action, reward, next observation, whether the task ended, whether the episode was cut short, as
    /// little-endian numbers, observations of bytes as bytes. The last transition has the number `pushed - 1`.
    pub fn write_rows(&self, numbers: std::ops::Range<u64>, out: &mut Vec<u8>) {
        let m = self.action_dim;
        let put = |numbers: &[f32], out: &mut Vec<u8>| Row::Any(numbers).write(true, out);
        let held = self.pushed - self.len() as u64..self.pushed;
        for number in numbers.start.max(held.start)..numbers.end.min(held.end) {
            let age = (held.end - number) as usize;
            let i = (self.next + self.capacity - age) % self.capacity;
            self.observations.before(i).write(self.wide, out);
            put(&self.actions[i * m..(i + 1) * m], out);
            put(&self.rewards[i..=i], out);
            self.observations.after(i, self.capacity).write(self.wide, out);
            put(&self.dones[i..=i], out);
            put(&self.timeouts[i..=i], out);
        }
    }

    /// Where the next transition goes, and how many were ever added: what [`Replay::write_rows`] leaves
    /// out.
    pub fn place(&self) -> (usize, u64) {
        (self.next, self.pushed)
    }

    /// Adds transitions as [`Replay::write_rows`] wrote them; what is no whole row is left out.
    pub fn read_rows(&mut self, bytes: &[u8]) {
        let (m, numbers) = (self.action_dim, self.observations.numbers());
        let width = Row::width(numbers, self.wide, self.obs_dim());
        let [mut obs, mut next_obs, mut rest] = [const { Vec::new() }; 3];
        for bytes in bytes.chunks_exact(self.row_bytes()) {
            let (first, bytes) = bytes.split_at(width);
            let (action, bytes) = bytes.split_at(4 * (m + 1));
            let (second, ends) = bytes.split_at(width);
            [&mut obs, &mut next_obs, &mut rest].into_iter().for_each(Vec::clear);
            Row::read(numbers, self.wide, first, &mut obs);
            Row::read(numbers, self.wide, second, &mut next_obs);
            Row::read(Numbers::Any, true, action, &mut rest);
            Row::read(Numbers::Any, true, ends, &mut rest);
            let end = (rest[m + 1] != 0.0, rest[m + 2] != 0.0);
            self.push(&obs, &rest[..m], rest[m], &next_obs, end);
        }
    }

    /// Puts every transition of an otherwise new memory where it was, given the [`Replay::place`] of
    /// the memory that wrote them: sampling then finds the same ones.
    pub fn settle(&mut self, (next, pushed): (usize, u64)) {
        if self.len() == self.capacity {
            let next = next % self.capacity;
            let shift = (next + self.capacity - self.next) % self.capacity;
            self.observations.rotate(shift, self.capacity);
            self.actions.rotate_right(shift * self.action_dim);
            self.rewards.rotate_right(shift);
            self.dones.rotate_right(shift);
            self.timeouts.rotate_right(shift);
            self.next = next;
        }
        self.pushed = pushed;
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::holding(self.capacity, self.action_dim, self.observations.empty());
    }

    /// The next transition replaces the one at place `next` of a full ring.
    pub fn seek(&mut self, next: usize) {
        if self.len() == self.capacity {
            self.next = next % self.capacity;
        }
    }

    /// The same transitions in a ring of another capacity; the oldest are lost if they are too many.
    pub fn resized(&self, capacity: usize) -> Self {
        let mut other = Self::holding(capacity, self.action_dim, self.observations.empty());
        let (batch, timeouts) = self.last(capacity);
        let rows = batch.obs.chunks_exact(self.obs_dim());
        let rows = rows.zip(batch.actions.chunks_exact(self.action_dim));
        let rows = rows.zip(batch.next_obs.chunks_exact(self.obs_dim()));
        for (i, ((obs, action), next_obs)) in rows.enumerate() {
            let end = (batch.dones[i] != 0.0, timeouts[i] != 0.0);
            other.push(obs, action, batch.rewards[i], next_obs, end);
        }
        other.pushed = self.pushed;
        other
    }

    /// The last `count` transitions, oldest first, fewer if fewer are held, and 1 for each whose
    /// episode was cut short.
    pub fn last(&self, count: usize) -> (Batch<f32>, Vec<f32>) {
        let count = count.min(self.len());
        let m = self.action_dim;
        let mut batch = Batch { size: count, ..Batch::default() };
        let mut timeouts = Vec::with_capacity(count);
        for age in (1..=count).rev() {
            let i = (self.next + self.capacity - age) % self.capacity;
            self.observations.before(i).extend(&mut batch.obs);
            batch.actions.extend_from_slice(&self.actions[i * m..(i + 1) * m]);
            batch.rewards.push(self.rewards[i]);
            self.observations.after(i, self.capacity).extend(&mut batch.next_obs);
            batch.dones.push(self.dones[i]);
            timeouts.push(self.timeouts[i]);
        }
        (batch, timeouts)
    }

    /// Fills `batch` with `size` transitions drawn uniformly with replacement; its noise is left
    /// alone. The buffer must not be empty.
    pub fn sample<T: Scalar>(&self, size: usize, rng: &mut Rng, batch: &mut Batch<T>) {
        let m = self.action_dim;
        batch.size = size;
        for buffer in [
            &mut batch.obs,
            &mut batch.actions,
            &mut batch.rewards,
            &mut batch.next_obs,
            &mut batch.dones,
        ] {
            buffer.clear();
        }
        let widen = |x: &f32| T::of((*x).into());
        for _ in 0..size {
            let i = rng.index(self.len());
            self.observations.before(i).extend(&mut batch.obs);
            batch.actions.extend(self.actions[i * m..(i + 1) * m].iter().map(widen));
            batch.rewards.push(widen(&self.rewards[i]));
            self.observations.after(i, self.capacity).extend(&mut batch.next_obs);
            batch.dones.push(widen(&self.dones[i]));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::rng::Purpose;

    fn filled(capacity: usize, pushes: usize) -> Replay {
        let mut replay = Replay::new(capacity, 2, 1);
        for i in 0..pushes {
            let x = i as f32;
            replay.push(
                &[x, -x],
                &[x / 10.0],
                2.0 * x,
                &[x + 1.0, -x - 1.0],
                (i % 3 == 0, i % 3 == 1),
            );
        }
        replay
    }

    #[test]
    fn a_full_ring_forgets_the_oldest_and_keeps_rows_together() {
        let replay = filled(5, 13);
        assert_eq!(replay.len(), 5);
        let mut batch = Batch::<f64>::default();
        replay.sample(400, &mut Rng::new(0, Purpose::Replay), &mut batch);
        let mut seen = std::collections::BTreeSet::new();
        for i in 0..400 {
            let x = batch.obs[2 * i];
            seen.insert(x as u32);
            assert_eq!(batch.obs[2 * i + 1], -x);
            assert_eq!(batch.actions[i], f64::from(x as f32 / 10.0));
            assert_eq!(batch.rewards[i], 2.0 * x);
            assert_eq!(batch.next_obs[2 * i..2 * i + 2], [x + 1.0, -x - 1.0]);
            assert_eq!(batch.dones[i], f64::from(u8::from((x as u32).is_multiple_of(3))));
        }
        assert_eq!(seen, (8..13).collect());
    }

    #[test]
    fn the_last_transitions_come_oldest_first_across_the_seam() {
        let replay = filled(5, 13);
        assert_eq!(replay.pushed(), 13);
        let (batch, timeouts) = replay.last(4);
        assert_eq!(batch.obs, [9.0, -9.0, 10.0, -10.0, 11.0, -11.0, 12.0, -12.0]);
        assert_eq!(batch.dones, [1.0, 0.0, 0.0, 1.0]);
        assert_eq!(timeouts, [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(replay.last(9).0.rewards, [16.0, 18.0, 20.0, 22.0, 24.0]);
    }

    #[test]
    fn another_capacity_keeps_the_newest() {
        let replay = filled(5, 13);
        assert_eq!(replay.resized(3).last(9), replay.last(3));
        let mut larger = replay.resized(8);
        assert_eq!((larger.last(9), larger.pushed()), (replay.last(9), 13));
        larger.push(&[0.0; 2], &[0.0], 1.0, &[0.0; 2], (false, false));
        assert_eq!(larger.len(), 6);
    }

    #[test]
    fn a_full_ring_goes_on_where_it_is_told() {
        let mut replay = filled(5, 5);
        replay.seek(2);
        replay.push(&[9.0, -9.0], &[0.0], 18.0, &[0.0; 2], (false, false));
        assert_eq!(replay.last(9).0.rewards, [6.0, 8.0, 0.0, 2.0, 18.0]);
    }

    #[test]
    fn rows_that_were_written_are_read_back_to_their_places() {
        for pushes in [0, 3, 5, 13] {
            let replay = filled(5, pushes);
            let (mut bytes, mut other) = (Vec::new(), Replay::new(5, 2, 1));
            replay.write_rows(0..99, &mut bytes);
            assert_eq!(bytes.len(), replay.len() * replay.row_bytes());
            other.read_rows(&bytes);
            other.settle(replay.place());
            assert_eq!(other, replay);
        }
    }

    #[test]
    fn sampling_is_uniform() {
        let replay = filled(4, 4);
        let mut batch = Batch::<f32>::default();
        replay.sample(40_000, &mut Rng::new(1, Purpose::Replay), &mut batch);
        for x in 0..4 {
            let count = batch.rewards.iter().filter(|&&r| r == 2.0 * x as f32).count();
            // Six standard deviations of a binomial with p = 1/4.
            assert!(count.abs_diff(10_000) < 520, "{x}: {count}");
        }
    }
}
