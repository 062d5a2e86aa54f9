//! Standardisation of observations and scaling of rewards by running statistics.

use super::Batch;

/// Statistics that change while an agent learns. Applied to what the policy sees and to what is
/// sampled; what is remembered stays as it was, so that old transitions follow new statistics.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalizer {
    /// Mean, standard deviation, and bound once standardised, each per number of an observation; none
    /// to leave observations alone.
    pub obs: Option<[Vec<f64>; 3]>,
    /// Divisor of rewards; none to leave them alone.
    pub reward: Option<f64>,
    /// Bound of a scaled reward.
    pub clip_reward: f64,
}

impl Normalizer {
    /// `x <- clip((x - mean) / std)` for each row of observations.
    pub fn standardize(&self, rows: &mut [f32]) {
        let Some([mean, std, bound]) = &self.obs else { return };
        for row in rows.chunks_exact_mut(mean.len().max(1)) {
            for (((x, &mean), &std), &bound) in row.iter_mut().zip(mean).zip(std).zip(bound) {
                let z = (f64::from(*x) - mean) / std;
                *x = within(z, bound) as f32;
            }
        }
    }

    /// Standardises a minibatch.
    pub fn apply(&self, batch: &mut Batch<f32>) {
        self.standardize(&mut batch.obs);
        self.standardize(&mut batch.next_obs);
        let Some(scale) = self.reward else { return };
        for reward in &mut batch.rewards {
            let scaled = f64::from(*reward) / scale;
            *reward = within(scaled, self.clip_reward) as f32;
        }
    }
}

/// `x` within `+-bound`, as numpy's `clip` has it: with a bound that is negative or NaN the upper one wins.
fn within(x: f64, bound: f64) -> f64 {
    let above = if x < -bound { -bound } else { x };
    if above > bound { bound } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_any_kind_are_those_of_numpy() {
        assert_eq!([-3.0, 0.5, 3.0].map(|x| within(x, 1.0)), [-1.0, 0.5, 1.0]);
        // numpy.clip(x, 1, -1) is -1.
        assert_eq!([-3.0, 0.5, 3.0].map(|x| within(x, -1.0)), [-1.0; 3]);
        assert_eq!(within(2.0, f64::INFINITY), 2.0);
    }
}
