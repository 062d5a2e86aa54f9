//! Several environments at once, one thread each.

use crate::env::{Env, Spaces, Step};
use crate::error::{Error, Result};
use crossbeam::channel::{Receiver, Sender, bounded};
use std::thread::JoinHandle;

enum Request {
    Reset(Option<u64>),
    /// The action row, and the buffers to fill; both travel back.
    Step(Vec<f32>, Step),
}

enum Reply {
    Reset(Result<Vec<f32>>),
    Step(Result<()>, Vec<f32>, Step),
}

struct Worker {
    requests: Option<Sender<Request>>,
    replies: Receiver<Reply>,
    thread: Option<JoinHandle<()>>,
    buffers: Option<(Vec<f32>, Step)>,
}

/// `n` environments as one [`Env`]. Row `i` is always environment `i`, so that results depend on
/// seeds and `n` alone, never on which thread is first.
pub struct ParallelEnv {
    spaces: Spaces,
    workers: Vec<Worker>,
}

impl ParallelEnv {
    /// Moves each environment into a thread of its own. All must have the same spaces.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no environment.
    pub fn new(envs: Vec<Box<dyn Env + Send>>) -> Result<Self> {
        let Some(spaces) = envs.first().map(|env| env.spaces().clone()) else {
            return Err(Error::config("n_envs", 0, "it must be at least 1"));
        };
        let buffers = || (vec![0.0; spaces.action.dim()], Step::new(1, spaces.obs_dim));
        let n = envs.len();
        let workers = envs.into_iter().map(|env| Worker::new(env, buffers()));
        let workers = workers.collect::<std::io::Result<_>>().map_err(|error| {
            Error::config("n_envs", n, format!("there is no thread for each: {error}"))
        })?;
        Ok(Self { spaces, workers })
    }
}

impl Worker {
    fn new(mut env: Box<dyn Env + Send>, buffers: (Vec<f32>, Step)) -> std::io::Result<Self> {
        let (request_sender, requests) = bounded::<Request>(1);
        let (reply_sender, replies) = bounded(1);
        let serve = move || {
            for request in requests {
                let reply = match request {
                    Request::Reset(seed) => {
                        let mut obs = vec![0.0; env.spaces().obs_dim];
                        Reply::Reset(env.reset(seed, &mut obs).map(|()| obs))
                    }
                    Request::Step(actions, mut step) => {
                        let result = env.step(&actions, &mut step);
                        Reply::Step(result, actions, step)
                    }
                };
                if reply_sender.send(reply).is_err() {
                    break;
                }
            }
        };
        let thread = Some(std::thread::Builder::new().spawn(serve)?);
        Ok(Self { requests: Some(request_sender), replies, thread, buffers: Some(buffers) })
    }

    fn send(&self, request: Request) -> Result<()> {
        let requests = self.requests.as_ref().ok_or_else(gone)?;
        requests.send(request).map_err(|_| gone())
    }

    fn receive(&self) -> Result<Reply> {
        self.replies.recv().map_err(|_| gone())
    }
}

fn gone() -> Error {
    Error::Env { during: "step", message: "the environment's thread ended".into(), traceback: None }
}

impl Env for ParallelEnv {
    fn spaces(&self) -> &Spaces {
        &self.spaces
    }

    fn num_envs(&self) -> usize {
        self.workers.len()
    }

    fn reset(&mut self, seed: Option<u64>, obs: &mut [f32]) -> Result<()> {
        for (worker, i) in self.workers.iter().zip(0..) {
            worker.send(Request::Reset(seed.map(|seed| seed.wrapping_add(i))))?;
        }
        for (worker, obs) in self.workers.iter().zip(obs.chunks_exact_mut(self.spaces.obs_dim)) {
            match worker.receive()? {
                Reply::Reset(first) => obs.copy_from_slice(&first?),
                Reply::Step(..) => return Err(gone()),
            }
        }
        Ok(())
    }

    fn step(&mut self, actions: &[f32], step: &mut Step) -> Result<()> {
        let rows = actions.chunks_exact(self.spaces.action.dim());
        for (worker, row) in self.workers.iter_mut().zip(rows) {
            let (mut action, one) = worker.buffers.take().ok_or_else(gone)?;
            action.copy_from_slice(row);
            worker.send(Request::Step(action, one))?;
        }
        let n = self.spaces.obs_dim;
        let mut first_error = Ok(());
        for (i, worker) in self.workers.iter_mut().enumerate() {
            let Reply::Step(result, action, one) = worker.receive()? else { return Err(gone()) };
            step.obs[i * n..(i + 1) * n].copy_from_slice(&one.obs);
            step.next_obs[i * n..(i + 1) * n].copy_from_slice(&one.next_obs);
            step.rewards[i] = one.rewards[0];
            step.terminated[i] = one.terminated[0];
            step.truncated[i] = one.truncated[0];
            worker.buffers = Some((action, one));
            first_error = first_error.and(result);
        }
        first_error
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Closing the channel ends the thread's loop.
        self.requests = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("an environment's thread panicked");
        }
    }
}
