//! Metrics by TensorBoard tag, and their running means.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Means of an agent's metrics since they were last asked for, by TensorBoard tag.
pub type Metrics = Vec<(Cow<'static, str>, f64)>;

/// Means by tag since they were last taken, in order of first appearance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunningMean(Vec<(Cow<'static, str>, f64, u64)>);

impl RunningMean {
    /// Adds one observation of `tag`. What is not finite (a failed solve's residual, the ratio to a
    /// gradient of zero) has no mean and is left out.
    pub fn add(&mut self, tag: &'static str, value: f64) {
        if !value.is_finite() {
            return;
        }
        match self.0.iter_mut().find(|(t, ..)| *t == tag) {
            Some((_, mean, count)) => {
                *count += 1;
                *mean += (value - *mean) / *count as f64;
            }
            None => self.0.push((tag.into(), value, 1)),
        }
    }

    /// Adds an observation that there may be.
    pub fn add_some(&mut self, tag: &'static str, value: Option<f64>) {
        if let Some(value) = value {
            self.add(tag, value);
        }
    }

    /// The latest value of `tag`, a running total, takes the place of its mean.
    pub fn replace(&mut self, tag: &'static str, value: f64) {
        match self.0.iter_mut().find(|(t, ..)| *t == tag) {
            Some((_, last, count)) => (*last, *count) = (value, 1),
            None => self.0.push((tag.into(), value, 1)),
        }
    }

    /// The means, leaving the tags without observations.
    pub fn take(&mut self) -> Metrics {
        let observed = self.0.iter_mut().filter(|(.., count)| *count > 0);
        observed
            .map(|(tag, mean, count)| {
                *count = 0;
                (tag.clone(), std::mem::take(mean))
            })
            .collect()
    }
}
