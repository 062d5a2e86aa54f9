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
                *x = z.clamp(-bound, bound) as f32;
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
            *reward = scaled.clamp(-self.clip_reward, self.clip_reward) as f32;
        }
    }
}
