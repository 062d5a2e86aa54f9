//! A small episodic decision process whose every expectation is a finite sum.

use agents::env::Step;
use agents::memory::Rollout;
use agents::nn::Mlp;
use agents::rng::{Purpose, Rng};

const STATES: usize = 3;
const ACTIONS: usize = 2;
const HORIZON: usize = 3;
/// Entering this state ends the episode.
const ABSORBING: usize = 2;

/// Numbers per observation: one-hot over (state, time).
pub const OBS: usize = STATES * HORIZON;
/// Number of actions.
pub const CHOICES: usize = ACTIONS;

/// Random start distribution, transitions and rewards.
pub struct Tabular {
    start: [f64; STATES],
    transition: [[[f64; STATES]; ACTIONS]; STATES],
    reward: [[f64; ACTIONS]; STATES],
    pub gamma: f64,
}

/// `(state, action)` at each time, and its probability.
pub struct Trajectory {
    pub steps: Vec<(usize, usize)>,
    pub probability: f64,
    terminated: bool,
}

/// Values by time, state and action.
pub struct Values {
    pub v: [[f64; STATES]; HORIZON],
    pub q: [[[f64; ACTIONS]; STATES]; HORIZON],
}

/// Something per time and state.
pub type Table = [[f64; STATES]; HORIZON];

fn distribution<const N: usize>(rng: &mut Rng) -> [f64; N] {
    let weights: [f64; N] = std::array::from_fn(|_| rng.uniform(0.2, 1.0));
    weights.map(|w| w / weights.iter().sum::<f64>())
}

/// The observation of state `s` at time `t`.
pub fn obs(t: usize, s: usize) -> Vec<f64> {
    let mut obs = vec![0.0; OBS];
    obs[t * STATES + s] = 1.0;
    obs
}

/// `pi(.|s)` at time `t` under a softmax of `network`, without libtorch.
pub fn policy(network: &Mlp, params: &[f64], t: usize, s: usize) -> [f64; ACTIONS] {
    let mut z = [0.0; ACTIONS];
    network.forward(params, &obs(t, s), &mut Default::default(), &mut z);
    let weights = z.map(f64::exp);
    weights.map(|w| w / weights.iter().sum::<f64>())
}

impl Tabular {
    pub fn random(seed: u64, gamma: f64) -> Self {
        let mut rng = Rng::new(seed, Purpose::Replay);
        Self {
            start: distribution(&mut rng),
            transition: std::array::from_fn(|_| std::array::from_fn(|_| distribution(&mut rng))),
            reward: std::array::from_fn(|_| std::array::from_fn(|_| rng.uniform(-1.0, 2.0))),
            gamma,
        }
    }

    /// `V` and `Q` of the policy, by backward recursion.
    pub fn values(&self, network: &Mlp, params: &[f64]) -> Values {
        let mut values = Values { v: Default::default(), q: [[[0.0; ACTIONS]; STATES]; HORIZON] };
        for t in (0..HORIZON).rev() {
            for s in 0..STATES {
                for (a, pi) in policy(network, params, t, s).into_iter().enumerate() {
                    let next = (0..STATES).filter(|&next| t + 1 < HORIZON && next != ABSORBING);
                    let future: f64 =
                        next.map(|next| self.transition[s][a][next] * values.v[t + 1][next]).sum();
                    values.q[t][s][a] = self.reward[s][a] + self.gamma * future;
                    values.v[t][s] += pi * values.q[t][s][a];
                }
            }
        }
        values
    }

    /// `E_{s_0}[V(s_0)]`
    pub fn objective(&self, network: &Mlp, params: &[f64]) -> f64 {
        let values = self.values(network, params);
        (0..STATES).map(|s| self.start[s] * values.v[0][s]).sum()
    }

    /// Probability of being in each state at each time.
    pub fn visits(&self, network: &Mlp, params: &[f64]) -> Table {
        let mut visits = Table::default();
        for trajectory in self.trajectories(network, params) {
            for (t, &(s, _)) in trajectory.steps.iter().enumerate() {
                visits[t][s] += trajectory.probability;
            }
        }
        visits
    }

    /// Every trajectory that has a probability.
    pub fn trajectories(&self, network: &Mlp, params: &[f64]) -> Vec<Trajectory> {
        let mut done = Vec::new();
        let mut open = Vec::from_iter((0..STATES).map(|s| (Vec::new(), s, self.start[s])));
        while let Some((steps, s, probability)) = open.pop() {
            let t = steps.len();
            for (a, pi) in policy(network, params, t, s).into_iter().enumerate() {
                let steps = [&steps[..], &[(s, a)]].concat();
                for next in 0..STATES {
                    let probability = probability * pi * self.transition[s][a][next];
                    if t + 1 == HORIZON || next == ABSORBING {
                        let steps = steps.clone();
                        done.push(Trajectory { steps, probability, terminated: true });
                    } else {
                        open.push((steps.clone(), next, probability));
                    }
                }
            }
        }
        done
    }

    /// Adds `trajectory` to a rollout.
    pub fn replay(&self, trajectory: &Trajectory, rollout: &mut Rollout) {
        let narrow = |x: Vec<f64>| x.into_iter().map(|x| x as f32).collect::<Vec<f32>>();
        for (t, &(s, a)) in trajectory.steps.iter().enumerate() {
            let last = t + 1 == trajectory.steps.len();
            let step = Step {
                rewards: vec![self.reward[s][a]],
                terminated: vec![last && trajectory.terminated],
                ..Step::new(1, OBS)
            };
            rollout.push(&narrow(obs(t, s)), &[a as f32], &step);
        }
    }
}
