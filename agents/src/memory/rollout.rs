//! The rollout: what one batch of on-policy steps was, environment by environment.

use crate::env::Step;
use crate::error::Result;
use crate::flat::Scalar;
use serde::{Deserialize, Serialize};

/// Steps of several environments since the last update.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    streams: Vec<Stream>,
    /// What the last update learned from.
    pub last: Option<Trajectories<f32>>,
}

/// Consecutive steps of one environment; rows are steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Stream {
    obs: Vec<f32>,
    actions: Vec<f32>,
    rewards: Vec<f64>,
    ends: Vec<End>,
    /// True successor of the last step.
    last_obs: Vec<f32>,
}

/// How a step left its episode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum End {
    /// It goes on.
    No,
    /// The task ended: nothing follows.
    Terminated,
    /// It was cut short in this state, whose value stands for what would have followed.
    Truncated(Vec<f32>),
}

/// What an update learns from. Rows are steps; those of one trajectory lie behind one another, and a
/// trajectory ends where its episode or the batch does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trajectories<T> {
    /// Number of rows.
    pub size: usize,
    /// `size x obs_dim`
    pub obs: Vec<T>,
    /// `size x action_dim`, as the policy drew them
    pub actions: Vec<T>,
    /// `V(s_t)` of the critic in force
    pub values: Vec<T>,
    /// `A_t = sum_l (gamma lambda)^l delta_{t+l}`, `delta_t = r_t + gamma V(s_{t+1}) - V(s_t)`
    /// (Schulman et al., 2016)
    pub advantages: Vec<T>,
    /// `R_t = sum_l gamma^l r_{t+l}`, plus `gamma^k V(s_{t+k})` where the trajectory is cut after `k`
    /// steps without having terminated
    pub returns: Vec<T>,
    /// Steps to the end of the trajectory, this one included.
    pub remaining: Vec<usize>,
}

impl Rollout {
    /// Steps held, over all environments.
    pub fn len(&self) -> usize {
        self.streams.iter().map(|stream| stream.rewards.len()).sum()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all steps.
    pub fn clear(&mut self) {
        self.streams.clear();
    }

    /// Actions as the policy drew them, environment after environment.
    pub fn actions(&self) -> Vec<f32> {
        self.streams.iter().flat_map(|stream| stream.actions.iter().copied()).collect()
    }

    /// Adds what `actions` in `obs` led to: a row per environment.
    pub fn push(&mut self, obs: &[f32], actions: &[f32], step: &Step) {
        let n = step.rewards.len();
        self.streams.resize_with(n, Stream::default);
        let rows = obs
            .chunks_exact(obs.len() / n)
            .zip(actions.chunks_exact(actions.len() / n))
            .zip(step.next_obs.chunks_exact(obs.len() / n));
        for (i, (stream, ((obs, action), next_obs))) in
            self.streams.iter_mut().zip(rows).enumerate()
        {
            stream.obs.extend_from_slice(obs);
            stream.actions.extend_from_slice(action);
            stream.rewards.push(step.rewards[i]);
            stream.ends.push(match (step.terminated[i], step.truncated[i]) {
                (true, _) => End::Terminated,
                (false, true) => End::Truncated(next_obs.to_vec()),
                (false, false) => End::No,
            });
            stream.last_obs.clear();
            stream.last_obs.extend_from_slice(next_obs);
        }
    }

    /// Environment `i` goes on from a new episode: the one it was in ends where it stands, cut short.
    pub fn cut(&mut self, i: usize) {
        let Some(Stream { ends, last_obs, .. }) = self.streams.get_mut(i) else { return };
        if let Some(end @ End::No) = ends.last_mut() {
            *end = End::Truncated(last_obs.clone());
        }
    }

    /// Returns and advantages under the critic, environment after environment; the rollout is empty
    /// afterwards. `values` has a value for every row of observations.
    pub fn take<T: Scalar>(
        &mut self,
        gamma: f64,
        gae_lambda: f64,
        values: &mut dyn FnMut(&[f32]) -> Result<Vec<f32>>,
    ) -> Result<Trajectories<T>> {
        let mut all = Trajectories::empty();
        for stream in std::mem::take(&mut self.streams) {
            stream.append_to(&mut all, gamma, gae_lambda, values)?;
        }
        Ok(all)
    }
}

impl<T: Scalar> Trajectories<T> {
    /// Deals the trajectories, one after another, to `N` batches; some are empty if there are too few.
    pub fn deal<const N: usize>(&self) -> [Self; N] {
        let mut parts = std::array::from_fn(|_| Self::empty());
        let (obs_dim, action_dim) =
            (self.obs.len() / self.size.max(1), self.actions.len() / self.size.max(1));
        let (mut start, mut turn) = (0, 0);
        while start < self.size {
            let end = start + self.remaining[start];
            let part: &mut Self = &mut parts[turn % N];
            part.size += end - start;
            part.obs.extend_from_slice(&self.obs[start * obs_dim..end * obs_dim]);
            part.actions.extend_from_slice(&self.actions[start * action_dim..end * action_dim]);
            part.values.extend_from_slice(&self.values[start..end]);
            part.advantages.extend_from_slice(&self.advantages[start..end]);
            part.returns.extend_from_slice(&self.returns[start..end]);
            part.remaining.extend_from_slice(&self.remaining[start..end]);
            (start, turn) = (end, turn + 1);
        }
        parts
    }

    fn empty() -> Self {
        Self {
            size: 0,
            obs: Vec::new(),
            actions: Vec::new(),
            values: Vec::new(),
            advantages: Vec::new(),
            returns: Vec::new(),
            remaining: Vec::new(),
        }
    }
}

impl Stream {
    fn append_to<T: Scalar>(
        self,
        all: &mut Trajectories<T>,
        gamma: f64,
        gae_lambda: f64,
        values: &mut dyn FnMut(&[f32]) -> Result<Vec<f32>>,
    ) -> Result<()> {
        let (first, n) = (all.size, self.rewards.len());
        all.size += n;
        for vector in [&mut all.values, &mut all.advantages, &mut all.returns] {
            vector.resize(all.size, T::zero());
        }
        all.remaining.resize(all.size, 0);

        // V of every state and, behind them, of those that a trajectory was cut short in.
        let mut states = self.obs;
        let in_rollout = states.len();
        for end in &self.ends {
            if let End::Truncated(obs) = end {
                states.extend_from_slice(obs);
            }
        }
        states.extend_from_slice(&self.last_obs);
        let values = values(&states)?;
        let (values, cuts) = values.split_at(n);
        let mut cuts = cuts.iter().rev().map(|&v| cut(v.into()));
        let last = cuts.next().unwrap_or_default();

        // V, A, R and remaining steps of the state that follows.
        let mut next = (0.0, 0.0, 0.0, 0);
        for t in (0..n).rev() {
            match &self.ends[t] {
                End::Terminated => next = (0.0, 0.0, 0.0, 0),
                End::Truncated(_) => next = cuts.next().unwrap_or_default(),
                End::No if t + 1 == n => next = last,
                End::No => {}
            }
            let v = f64::from(values[t]);
            let (next_v, next_advantage, next_return, remaining) = next;
            let delta = self.rewards[t] + gamma * next_v - v;
            let advantage = delta + gamma * gae_lambda * next_advantage;
            let total = self.rewards[t] + gamma * next_return;
            all.values[first + t] = T::of(v);
            all.advantages[first + t] = T::of(advantage);
            all.returns[first + t] = T::of(total);
            all.remaining[first + t] = remaining + 1;
            next = (v, advantage, total, remaining + 1);
        }
        let widen = |x: f32| T::of(x.into());
        states.truncate(in_rollout);
        all.obs.extend(states.into_iter().map(widen));
        all.actions.extend(self.actions.into_iter().map(widen));
        Ok(())
    }
}

/// What follows a trajectory that was cut short in a state of value `v`.
fn cut(v: f64) -> (f64, f64, f64, usize) {
    (v, 0.0, v, 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rng::{Purpose, Rng};

    const GAMMA: f64 = 0.9;
    const LAMBDA: f64 = 0.7;
    const ENVS: usize = 3;

    /// A value for every observation, which is its serial number.
    fn value(obs: f32) -> f32 {
        (obs * 0.37).sin() * 3.0
    }

    fn values(obs: &[f32]) -> Result<Vec<f32>> {
        Ok(obs.iter().map(|&obs| value(obs)).collect())
    }

    /// One step of one environment.
    struct Row {
        obs: f32,
        reward: f64,
        next_obs: f32,
        terminated: bool,
        truncated: bool,
    }

    /// Random episodes of `ENVS` environments, per environment.
    fn episodes(steps: usize) -> (Rollout, Vec<Vec<Row>>) {
        let mut rng = Rng::new(0, Purpose::Diagnostics);
        let (mut rollout, mut rows) = (Rollout::default(), Vec::new());
        rows.resize_with(ENVS, Vec::new);
        let mut obs: Vec<f32> = (0..ENVS).map(|i| i as f32).collect();
        let mut serial = ENVS as f32;
        for _ in 0..steps {
            let mut step = Step::new(ENVS, 1);
            for i in 0..ENVS {
                step.rewards[i] = rng.normal();
                step.terminated[i] = rng.index(5) == 0;
                step.truncated[i] = rng.index(5) == 0;
                step.next_obs[i] = serial;
                step.obs[i] = if step.ended(i) { serial + 0.5 } else { serial };
                serial += 1.0;
                rows[i].push(Row {
                    obs: obs[i],
                    reward: step.rewards[i],
                    next_obs: step.next_obs[i],
                    terminated: step.terminated[i],
                    truncated: step.truncated[i],
                });
            }
            rollout.push(&obs, &obs.clone(), &step);
            obs.copy_from_slice(&step.obs);
        }
        (rollout, rows)
    }

    /// `(A, R, remaining)` of row `t`: the sums of the definition, term by term.
    fn direct(rows: &[Row], t: usize) -> (f64, f64, usize) {
        let (mut advantage, mut total) = (0.0, 0.0);
        for (l, row) in rows[t..].iter().enumerate() {
            let next_v = if row.terminated { 0.0 } else { f64::from(value(row.next_obs)) };
            let delta = row.reward + GAMMA * next_v - f64::from(value(row.obs));
            advantage += (GAMMA * LAMBDA).powi(l as i32) * delta;
            total += GAMMA.powi(l as i32) * row.reward;
            if row.terminated || row.truncated || t + l + 1 == rows.len() {
                total += GAMMA.powi(l as i32 + 1) * next_v;
                return (advantage, total, l + 1);
            }
        }
        (advantage, total, 0)
    }

    #[test]
    fn advantages_and_returns_are_those_of_their_definitions() {
        let (mut rollout, rows) = episodes(60);
        assert_eq!(rollout.len(), 60 * ENVS);
        let batch = rollout.take::<f64>(GAMMA, LAMBDA, &mut values).unwrap();
        assert!(rollout.is_empty());

        let rows: Vec<(&[Row], usize)> =
            rows.iter().flat_map(|rows| (0..rows.len()).map(move |t| (&rows[..], t))).collect();
        assert_eq!(batch.size, rows.len());
        let both = |row: &Row| row.terminated && row.truncated;
        assert!(rows.iter().any(|(rows, t)| both(&rows[*t])), "no step that is both");
        for (i, &(rows, t)) in rows.iter().enumerate() {
            let (advantage, total, remaining) = direct(rows, t);
            assert_eq!((batch.obs[i], batch.actions[i]), (rows[t].obs.into(), rows[t].obs.into()));
            assert!((batch.values[i] - f64::from(value(rows[t].obs))).abs() < 1e-12);
            assert!((batch.advantages[i] - advantage).abs() < 1e-12, "row {i}");
            assert!((batch.returns[i] - total).abs() < 1e-12, "row {i}");
            assert_eq!(batch.remaining[i], remaining, "row {i}");
        }
    }

    #[test]
    fn dealing_keeps_trajectories_whole_and_loses_none() {
        let batch = episodes(40).0.take::<f64>(GAMMA, LAMBDA, &mut values).unwrap();
        let parts: [Trajectories<f64>; 3] = batch.deal();
        assert_eq!(parts.iter().map(|part| part.size).sum::<usize>(), batch.size);
        let mut rows = Vec::new();
        for part in &parts {
            let ends = part.remaining.iter().filter(|&&remaining| remaining == 1).count();
            assert!(ends > 5, "too few trajectories to be a test");
            for (i, pair) in part.remaining.windows(2).enumerate() {
                assert!(pair[0] == 1 || pair[1] + 1 == pair[0], "row {i}");
            }
            let columns = part.obs.iter().zip(&part.advantages).zip(&part.returns);
            rows.extend(columns.map(|((&o, &a), &r)| [o, a, r]));
        }
        let mut all: Vec<[f64; 3]> = batch
            .obs
            .iter()
            .zip(&batch.advantages)
            .zip(&batch.returns)
            .map(|((&o, &a), &r)| [o, a, r])
            .collect();
        all.sort_by(|a, b| a[0].total_cmp(&b[0]));
        rows.sort_by(|a, b| a[0].total_cmp(&b[0]));
        assert_eq!(rows, all);
    }

    #[test]
    fn an_episode_that_was_cut_short_takes_nothing_from_the_next_one() {
        let row = |obs: f32, reward| {
            let mut step = Step::new(1, 1);
            (step.rewards[0], step.next_obs[0], step.obs[0]) = (reward, obs + 1.0, obs + 1.0);
            step
        };
        let mut rollout = Rollout::default();
        rollout.push(&[0.0], &[0.0], &row(0.0, 1.0));
        rollout.cut(0);
        rollout.push(&[7.0], &[0.0], &row(7.0, 100.0));
        let batch = rollout.take::<f64>(GAMMA, LAMBDA, &mut values).unwrap();
        assert!((batch.returns[0] - (1.0 + GAMMA * f64::from(value(1.0)))).abs() < 1e-12);
        assert_eq!(batch.remaining, [1, 1]);
    }

    #[test]
    fn an_episode_goes_on_in_the_next_batch() {
        let (mut first, rows) = episodes(1);
        let batch = first.take::<f64>(GAMMA, LAMBDA, &mut values).unwrap();
        assert_eq!(batch.size, ENVS);
        for (i, rows) in rows.iter().enumerate() {
            assert!((batch.returns[i] - direct(rows, 0).1).abs() < 1e-12);
        }
    }
}
