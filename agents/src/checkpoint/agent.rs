//! The parts of a checkpoint that are an agent: what it has learnt, and what it remembers.

use super::{Checkpoint, Reader, encode};
use crate::agent::Learn;
use crate::error::Result;
use crate::memory::{MemoryMut, Replay};

const LEARNER: &str = "learner.bin";
const MEMORY: &str = "memory.bin";

/// Parts of a checkpoint, by name.
pub type Parts = Vec<(&'static str, Vec<u8>)>;

/// The parts, and the replay memory, if there is one, for [`super::Store::write`].
pub fn save_agent(agent: &mut dyn Learn) -> Result<(Parts, Option<&Replay>)> {
    let learner = agent.save_state()?;
    let (memory, replay) = match agent.memory() {
        MemoryMut::Replay(replay) => (encode(&replay.place())?, Some(&*replay)),
        MemoryMut::Rollout(rollout) => (encode(rollout)?, None),
    };
    Ok((vec![(LEARNER, learner), (MEMORY, memory)], replay))
}

/// Brings an agent of the same settings to where it was.
pub fn load_agent(
    agent: &mut dyn Learn,
    checkpoint: &Checkpoint,
    rows: &mut Reader<'_>,
) -> Result<()> {
    agent.load_state(learner(checkpoint)?)?;
    match agent.memory() {
        MemoryMut::Replay(replay) => {
            rows.fill(checkpoint, replay)?;
            replay.settle(checkpoint.value(MEMORY)?);
        }
        MemoryMut::Rollout(rollout) => *rollout = checkpoint.value(MEMORY)?,
    }
    Ok(())
}

/// What it has learnt, for [`Learn::load_state`].
pub fn learner(checkpoint: &Checkpoint) -> Result<&[u8]> {
    checkpoint.bytes(LEARNER)
}
