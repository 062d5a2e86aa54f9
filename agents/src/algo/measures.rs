//! Running means of an agent's measures.

use crate::agent::Metrics;

/// Means by tag since they were last taken, in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Means(Vec<(&'static str, f64, u64)>);

impl Means {
    /// Adds one observation of `tag`.
    pub(super) fn add(&mut self, tag: &'static str, value: f64) {
        match self.0.iter_mut().find(|(t, ..)| *t == tag) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1;
            }
            None => self.0.push((tag, value, 1)),
        }
    }

    /// The means, leaving the tags without observations.
    pub(super) fn take(&mut self) -> Metrics {
        let observed = self.0.iter_mut().filter(|(.., count)| *count > 0);
        observed
            .map(|(tag, sum, count)| (*tag, std::mem::take(sum) / std::mem::take(count) as f64))
            .collect()
    }
}
