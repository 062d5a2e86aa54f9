//! The observations of a ring of transitions, before and after each step, in as little room as they take.

use crate::flat::Scalar;
use crate::spaces::Numbers;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was seen before and after each step, by place in the ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Observations {
    dim: usize,
    numbers: Numbers,
    before: Column,
    after: After,
}

/// Observations after steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum After {
    /// As many as before them.
    Own(Column),
    /// Those alone that are not the observation before the step `stride` places later: where an episode ends, and of the
    /// newest steps.
    Shared { stride: usize, others: BTreeMap<usize, Column> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Column {
    Any(Vec<f32>),
    Bytes(Vec<u8>),
}

/// One observation, as it is held.
#[derive(Clone, Copy)]
pub(super) enum Row<'a> {
    Any(&'a [f32]),
    /// With what they are to be divided by.
    Bytes(&'a [u8], f32),
}

impl Observations {
    /// None yet, of `dim` numbers each. With `shared`, one that is seen after a step and before the next is held once.
    pub(super) fn new(dim: usize, numbers: Numbers, shared: bool) -> Self {
        let column = || Column::new(numbers);
        let after = match shared {
            true => After::Shared { stride: 1, others: BTreeMap::new() },
            false => After::Own(column()),
        };
        Self { dim, numbers, before: column(), after }
    }

    /// The same kind, empty.
    pub(super) fn empty(&self) -> Self {
        let shared = matches!(self.after, After::Shared { .. });
        let mut empty = Self::new(self.dim, self.numbers, shared);
        empty.set_stride(self.stride());
        empty
    }

    pub(super) fn dim(&self) -> usize {
        self.dim
    }

    pub(super) fn numbers(&self) -> Numbers {
        self.numbers
    }

    /// In how many places the next step of the same environment comes.
    pub(super) fn set_stride(&mut self, n: usize) {
        if let After::Shared { stride, .. } = &mut self.after {
            *stride = n;
        }
    }

    fn stride(&self) -> usize {
        if let After::Shared { stride, .. } = self.after { stride } else { 1 }
    }

    /// Puts a step at `place` of a ring of `capacity`: behind all others, or over an old one.
    pub(super) fn put(&mut self, place: usize, capacity: usize, before: &[f32], after: &[f32]) {
        let Self { dim, numbers, before: column, after: rest } = self;
        match rest {
            After::Own(rest) => rest.put(place, *numbers, after),
            After::Shared { stride, others } => {
                let new = numbers.pack(before);
                let earlier = (place + capacity - *stride % capacity) % capacity;
                let is_held = *stride < capacity && column.holds(earlier, *dim);
                match others.get(&earlier) {
                    Some(seen) if is_held && *seen == new => drop(others.remove(&earlier)),
                    // It shared what is now replaced by something else.
                    None if is_held && column.holds(place, *dim) => {
                        let old = column.at(place, *dim);
                        if old != new {
                            others.insert(earlier, old);
                        }
                    }
                    _ => {}
                }
                others.insert(place, numbers.pack(after));
            }
        }
        column.put(place, *numbers, before);
    }

    /// What was seen before the step at `place`.
    pub(super) fn before(&self, place: usize) -> Row<'_> {
        self.before.row(place, self.dim, self.numbers)
    }

    /// What was seen after it, in a ring of `capacity`.
    pub(super) fn after(&self, place: usize, capacity: usize) -> Row<'_> {
        match &self.after {
            After::Own(column) => column.row(place, self.dim, self.numbers),
            After::Shared { stride, others } => match others.get(&place) {
                Some(column) => column.row(0, self.dim, self.numbers),
                None => self.before((place + stride) % capacity),
            },
        }
    }

    /// Moves what is at each place of a full ring to that `shift` places later.
    pub(super) fn rotate(&mut self, shift: usize, capacity: usize) {
        self.before.rotate(shift * self.dim);
        match &mut self.after {
            After::Own(column) => column.rotate(shift * self.dim),
            After::Shared { others, .. } => {
                let moved = std::mem::take(others).into_iter();
                *others = moved.map(|(i, column)| ((i + shift) % capacity, column)).collect();
            }
        }
    }
}

impl Numbers {
    /// Bytes that one number takes.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Any => size_of::<f32>(),
            Self::Bytes | Self::Pixels => 1,
        }
    }

    /// What whole numbers are divided by, where they are such.
    fn divisor(self) -> Option<f32> {
        match self {
            Self::Any => None,
            Self::Bytes => Some(1.0),
            Self::Pixels => Some(255.0),
        }
    }

    fn pack(self, row: &[f32]) -> Column {
        let mut column = Column::new(self);
        column.put(0, self, row);
        column
    }

    /// Exact: `f32(k) / 255 * 255` rounds to `k` for every byte `k`.
    fn byte(self, x: f32) -> u8 {
        (x * self.divisor().unwrap_or(1.0)).round() as u8
    }
}

impl Column {
    fn new(numbers: Numbers) -> Self {
        match numbers.divisor() {
            None => Self::Any(Vec::new()),
            Some(_) => Self::Bytes(Vec::new()),
        }
    }

    fn holds(&self, place: usize, dim: usize) -> bool {
        let len = match self {
            Self::Any(numbers) => numbers.len(),
            Self::Bytes(bytes) => bytes.len(),
        };
        len >= (place + 1) * dim
    }

    /// Over the observation at `place`, or behind the last.
    fn put(&mut self, place: usize, numbers: Numbers, row: &[f32]) {
        fn put<T>(column: &mut Vec<T>, start: usize, row: impl ExactSizeIterator<Item = T>) {
            match column.get_mut(start..start + row.len()) {
                Some(old) => old.iter_mut().zip(row).for_each(|(old, new)| *old = new),
                None => column.extend(row),
            }
        }
        let start = place * row.len();
        match self {
            Self::Any(column) => put(column, start, row.iter().copied()),
            Self::Bytes(column) => put(column, start, row.iter().map(|&x| numbers.byte(x))),
        }
    }

    fn at(&self, place: usize, dim: usize) -> Self {
        let range = place * dim..(place + 1) * dim;
        match self {
            Self::Any(numbers) => Self::Any(numbers[range].to_vec()),
            Self::Bytes(bytes) => Self::Bytes(bytes[range].to_vec()),
        }
    }

    fn row(&self, place: usize, dim: usize, numbers: Numbers) -> Row<'_> {
        let range = place * dim..(place + 1) * dim;
        match self {
            Self::Any(numbers) => Row::Any(&numbers[range]),
            Self::Bytes(bytes) => Row::Bytes(&bytes[range], numbers.divisor().unwrap_or(1.0)),
        }
    }

    fn rotate(&mut self, shift: usize) {
        match self {
            Self::Any(numbers) => numbers.rotate_right(shift),
            Self::Bytes(bytes) => bytes.rotate_right(shift),
        }
    }
}

impl Row<'_> {
    /// Appends its numbers to `out`.
    pub(super) fn extend<T: Scalar>(self, out: &mut Vec<T>) {
        match self {
            Self::Any(row) => out.extend(row.iter().map(|&x| T::of(x.into()))),
            Self::Bytes(row, divisor) => {
                out.extend(row.iter().map(|&x| T::of((f32::from(x) / divisor).into())));
            }
        }
    }

    /// Appends its bytes to `out`; `wide`: those of numbers, whatever it is held as.
    pub(super) fn write(self, wide: bool, out: &mut Vec<u8>) {
        match self {
            Self::Any(row) => out.extend(row.iter().flat_map(|x| x.to_le_bytes())),
            Self::Bytes(row, _) if !wide => out.extend_from_slice(row),
            Self::Bytes(row, divisor) => {
                out.extend(row.iter().flat_map(|&x| (f32::from(x) / divisor).to_le_bytes()));
            }
        }
    }

    /// The number of bytes that [`write`](Self::write) appends for an observation of `dim` numbers.
    pub(super) fn width(numbers: Numbers, wide: bool, dim: usize) -> usize {
        dim * if wide { size_of::<f32>() } else { numbers.size() }
    }

    /// Appends the numbers of what [`write`](Self::write) wrote to `out`.
    pub(super) fn read(numbers: Numbers, wide: bool, bytes: &[u8], out: &mut Vec<f32>) {
        match numbers.divisor().filter(|_| !wide) {
            Some(divisor) => Row::Bytes(bytes, divisor).extend(out),
            None => out.extend(bytes.as_chunks().0.iter().map(|&x| f32::from_le_bytes(x))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn numbers(row: Row<'_>) -> Vec<f32> {
        let mut out = Vec::new();
        row.extend(&mut out);
        out
    }

    #[test]
    fn every_byte_comes_back_bit_for_bit() {
        for (kind, divisor) in [(Numbers::Bytes, 1.0), (Numbers::Pixels, 255.0)] {
            let all: Vec<f32> = (0..=255u8).map(|x| f32::from(x) / divisor).collect();
            let mut held = Observations::new(256, kind, false);
            held.put(0, 2, &all, &all);
            assert_eq!(numbers(held.before(0)), all);
            assert_eq!(numbers(held.after(0, 2)), all);
            for wide in [false, true] {
                let (mut bytes, mut back) = (Vec::new(), Vec::new());
                held.before(0).write(wide, &mut bytes);
                assert_eq!(bytes.len(), Row::width(kind, wide, 256));
                Row::read(kind, wide, &bytes, &mut back);
                assert_eq!(back, all);
            }
        }
    }

    /// Episodes of several environments in turn: what is shared is what would have been held twice.
    #[test]
    fn shared_observations_are_those_of_two_columns() {
        for (capacity, envs, steps) in [(7, 1, 30), (8, 2, 40), (9, 2, 40), (5, 3, 40), (3, 4, 20)]
        {
            let mut own = Observations::new(1, Numbers::Any, false);
            let mut shared = Observations::new(1, Numbers::Any, true);
            shared.set_stride(envs);
            let mut place = 0;
            for t in 0..steps {
                for env in 0..envs {
                    // An episode of environment e ends after every 4 + e steps.
                    let length = 4 + env;
                    let name = |t: usize| (100 * env + t + 1000 * (t / length)) as f32;
                    let ends = (t + 1) % length == 0;
                    let after = if ends { -name(t) } else { name(t + 1) };
                    for held in [&mut own, &mut shared] {
                        held.put(place, capacity, &[name(t)], &[after]);
                    }
                    place = (place + 1) % capacity;
                    for i in 0..capacity.min(t * envs + env + 1) {
                        assert_eq!(numbers(own.before(i)), numbers(shared.before(i)));
                        let [ours, theirs] = [&own, &shared].map(|held| held.after(i, capacity));
                        assert_eq!(numbers(ours), numbers(theirs), "{capacity} {envs} {t} {i}");
                    }
                }
            }
            if let After::Shared { others, .. } = &shared.after {
                assert!(envs >= capacity || others.len() < capacity, "nothing is shared");
            }
            own.rotate(2, capacity);
            shared.rotate(2, capacity);
            for i in 0..capacity {
                let [ours, theirs] = [&own, &shared].map(|held| held.after(i, capacity));
                assert_eq!(numbers(ours), numbers(theirs));
            }
        }
    }

    /// A ring that goes on elsewhere than at its oldest step.
    #[test]
    fn a_step_keeps_what_it_shared_with_one_that_is_replaced() {
        let mut held = Observations::new(1, Numbers::Any, true);
        for t in 0..4 {
            held.put(t, 4, &[t as f32], &[t as f32 + 1.0]);
        }
        held.put(2, 4, &[9.0], &[10.0]);
        assert_eq!(numbers(held.after(1, 4)), [2.0]);
        assert_eq!(numbers(held.after(2, 4)), [10.0]);
    }
}
