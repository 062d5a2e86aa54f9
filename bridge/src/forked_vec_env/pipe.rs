//! Messages between two processes over a pair of sockets: frames of a kind, a length and a body.

use crate::stop;
use agents::{EnvState, Error, Restored, Result, Step};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long to poll before sleeping: waking up takes as long as a step of a small environment.
const POLL_TIME: Duration = Duration::from_micros(300);
/// Bytes before the body: the kind and the length of the body.
const HEAD: usize = 9;

/// One end of the connection.
pub(super) struct Pipe {
    stream: UnixStream,
    /// Buffer of the frame being read or written.
    frame: Vec<u8>,
}

/// What the parent asks of a child.
pub(super) enum Request<'a> {
    /// Start new episodes; with a seed, environment `i` gets `seed + i`.
    Reset(Option<u64>),
    /// Take a step, with one action per environment.
    Step(&'a [f32]),
    /// Record from now on.
    Record,
    /// Give the states of the environments.
    Save,
    /// Bring the environments to these states.
    Restore(Vec<EnvState>),
}

/// What the child answers.
pub(super) enum Answer<'a> {
    Done,
    Observations(&'a [f32]),
    Step(&'a Step),
    States(&'a [EnvState]),
    Restored(&'a [f32], &'a [Restored]),
    Failed(&'a Error),
}

/// In the place of the call that failed: a saved state could not be read.
const STATE: &str = "saved state";

const RESET: u8 = 0;
const RESET_SEEDED: u8 = 1;
const STEP: u8 = 2;
const DONE: u8 = 3;
const FAILED: u8 = 4;
const RECORD: u8 = 5;
const SAVE: u8 = 6;
const RESTORE: u8 = 7;

impl Pipe {
    /// Both ends of a new connection.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = UnixStream::pair()?;
        let end = |stream: UnixStream| -> io::Result<Self> {
            stream.set_nonblocking(true)?;
            Ok(Self { stream, frame: Vec::new() })
        };
        Ok((end(a)?, end(b)?))
    }

    /// Shuts the connection down for both ends.
    pub fn close(&self) {
        // The other end may have closed it already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Closes this copy of the end. A copy of it in another process stays open.
    pub fn detach(&mut self) {
        if let Ok((other, _)) = UnixStream::pair() {
            self.stream = other;
        }
    }

    pub fn ask(&mut self, request: Request<'_>) -> Result<()> {
        let sent = match request {
            Request::Reset(None) => self.send(RESET, |_| ()),
            Request::Reset(Some(seed)) => {
                self.send(RESET_SEEDED, |body| body.extend(seed.to_le_bytes()))
            }
            Request::Step(actions) => self.send(STEP, |body| put(actions, f32::to_le_bytes, body)),
            Request::Record => self.send(RECORD, |_| ()),
            Request::Save => self.send(SAVE, |_| ()),
            Request::Restore(states) => {
                let states = packed(&states).map_err(gone)?;
                self.send(RESTORE, |body| body.extend(states))
            }
        };
        sent.map_err(gone)
    }

    /// Waits for the next request; actions are read into `actions`.
    pub fn listen<'a>(&mut self, actions: &'a mut [f32]) -> io::Result<Request<'a>> {
        let (kind, mut body) = self.read()?;
        Ok(match kind {
            STEP => {
                get(&mut body, f32::from_le_bytes, actions);
                Request::Step(actions)
            }
            RESET_SEEDED => {
                let mut seed = [0];
                get(&mut body, u64::from_le_bytes, &mut seed);
                Request::Reset(Some(seed[0]))
            }
            RECORD => Request::Record,
            SAVE => Request::Save,
            RESTORE => Request::Restore(unpacked(body)?),
            _ => Request::Reset(None),
        })
    }

    pub fn answer(&mut self, answer: Answer<'_>) -> io::Result<()> {
        match answer {
            Answer::Done => self.send(DONE, |_| ()),
            Answer::Observations(obs) => self.send(DONE, |body| put(obs, f32::to_le_bytes, body)),
            Answer::Step(step) => self.send(DONE, |body| {
                put(&step.rewards, f64::to_le_bytes, body);
                put(&step.terminated, |x| [x.into()], body);
                put(&step.truncated, |x| [x.into()], body);
                put(&step.next_obs, f32::to_le_bytes, body);
                // `obs` equals `next_obs` where no episode ended.
                if (0..step.rewards.len()).any(|i| step.ended(i)) {
                    put(&step.obs, f32::to_le_bytes, body);
                }
            }),
            Answer::States(states) => {
                let states = packed(states)?;
                self.send(DONE, |body| body.extend(states))
            }
            Answer::Restored(obs, restored) => {
                let restored = packed(restored)?;
                self.send(DONE, |body| {
                    put(obs, f32::to_le_bytes, body);
                    body.extend(restored);
                })
            }
            Answer::Failed(error) => {
                let text = description(error).to_string();
                self.send(FAILED, |body| body.extend(text.as_bytes()))
            }
        }
    }

    pub fn receive(&mut self) -> Result<Received<'_>> {
        let (kind, body) = self.read().map_err(gone)?;
        Ok(Received { failed: kind == FAILED, body })
    }

    fn send(&mut self, kind: u8, write_body: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let Self { stream, frame } = self;
        frame.clear();
        frame.resize(HEAD, kind);
        write_body(frame);
        let len = (frame.len() - HEAD) as u64;
        frame[1..HEAD].copy_from_slice(&len.to_le_bytes());
        let mut rest = &frame[..];
        while !rest.is_empty() {
            let written = poll_then_sleep(stream, |stream| stream.write(rest))?;
            rest = &rest[written..];
        }
        Ok(())
    }

    /// Kind and body of the next frame. The two ends take turns, so no second frame can be waiting behind it.
    fn read(&mut self) -> io::Result<(u8, &[u8])> {
        let Self { stream, frame } = self;
        let (mut filled, mut wanted) = (0, HEAD);
        while filled < wanted {
            frame.resize(frame.capacity().max(wanted), 0);
            match poll_then_sleep(stream, |stream| stream.read(&mut frame[filled..]))? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                more => filled += more,
            }
            if let Some(&len) = frame[1..].first_chunk().filter(|_| filled >= HEAD) {
                wanted = HEAD + u64::from_le_bytes(len) as usize;
            }
        }
        Ok((frame[0], &frame[HEAD..filled]))
    }
}

/// Does `io` as soon as it is possible: polls first, then sleeps until the socket is ready.
fn poll_then_sleep(
    stream: &mut UnixStream,
    mut io: impl FnMut(&mut UnixStream) -> io::Result<usize>,
) -> io::Result<usize> {
    let begun = Instant::now();
    loop {
        match io(stream) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if begun.elapsed() < POLL_TIME {
                    std::thread::yield_now();
                    continue;
                }
                check_stop()?;
                stream.set_nonblocking(false)?;
                let done = io(stream);
                stream.set_nonblocking(true)?;
                match done {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    done => return done,
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// An error if a signal is not to be kept waiting any longer.
fn check_stop() -> io::Result<()> {
    if stop::interrupting() { Err(ErrorKind::Interrupted.into()) } else { Ok(()) }
}

/// An answer as it was received.
pub(super) struct Received<'a> {
    failed: bool,
    body: &'a [u8],
}

impl Received<'_> {
    /// The error, if the request failed.
    pub fn done(&self) -> Result<()> {
        match self.failed {
            true => Err(error(self.body)),
            false => Ok(()),
        }
    }

    pub fn observations(mut self, obs: &mut [f32]) -> Result<()> {
        self.done()?;
        get(&mut self.body, f32::from_le_bytes, obs);
        Ok(())
    }

    pub fn step(mut self, step: &mut Step) -> Result<()> {
        self.done()?;
        get(&mut self.body, f64::from_le_bytes, &mut step.rewards);
        get(&mut self.body, |[x]: [u8; 1]| x != 0, &mut step.terminated);
        get(&mut self.body, |[x]: [u8; 1]| x != 0, &mut step.truncated);
        get(&mut self.body, f32::from_le_bytes, &mut step.next_obs);
        step.obs.copy_from_slice(&step.next_obs);
        get(&mut self.body, f32::from_le_bytes, &mut step.obs);
        Ok(())
    }

    pub fn states(self) -> Result<Vec<EnvState>> {
        self.done()?;
        unpacked(self.body).map_err(gone)
    }

    pub fn restored(mut self, obs: &mut [f32]) -> Result<Vec<Restored>> {
        self.done()?;
        get(&mut self.body, f32::from_le_bytes, obs);
        unpacked(self.body).map_err(gone)
    }
}

fn put<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N], body: &mut Vec<u8>) {
    let start = body.len();
    body.resize(start + N * values.len(), 0);
    for (out, &value) in body[start..].chunks_exact_mut(N).zip(values) {
        out.copy_from_slice(&bytes(value));
    }
}

/// Reads `values` from the front of `body`; if `body` is shorter, the rest keeps its values.
fn get<T, const N: usize>(body: &mut &[u8], value: impl Fn([u8; N]) -> T, values: &mut [T]) {
    let (taken, rest) = body.split_at(body.len().min(N * values.len()));
    for (out, &bytes) in values.iter_mut().zip(taken.as_chunks().0) {
        *out = value(bytes);
    }
    *body = rest;
}

fn packed<T: Serialize + ?Sized>(value: &T) -> io::Result<Vec<u8>> {
    postcard::to_allocvec(value).map_err(io::Error::other)
}

fn unpacked<T: DeserializeOwned>(body: &[u8]) -> io::Result<T> {
    postcard::from_bytes(body).map_err(io::Error::other)
}

fn description(error: &Error) -> Value {
    match error {
        Error::Env { during, message, traceback } => json!([during, message, traceback]),
        Error::Interrupted | Error::Terminated => Value::Null,
        Error::EnvState(message) => json!([STATE, message, null]),
        other => json!(["step", other.to_string(), null]),
    }
}

/// The error that [`description`] describes.
fn error(body: &[u8]) -> Error {
    match serde_json::from_slice::<Option<(String, String, Option<String>)>>(body) {
        Ok(None) => Error::Interrupted,
        Ok(Some((during, message, _))) if during == STATE => Error::EnvState(message),
        Ok(Some((during, message, traceback))) => {
            let names = ["make", "reset", "step", "save", "restore"];
            let known = names.into_iter().find(|name| *name == during);
            Error::Env { during: known.unwrap_or("step"), message, traceback }
        }
        Err(error) => gone(error.into()),
    }
}

fn gone(error: io::Error) -> Error {
    if error.kind() == ErrorKind::Interrupted {
        return stop::ended();
    }
    let message = format!("its process has ended ({error})");
    Error::Env { during: "step", message, traceback: None }
}
