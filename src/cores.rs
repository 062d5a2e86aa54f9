//! The cores that processes keep to.

use crate::failure::Failure;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The cores that this process may use; none where the system does not tell.
pub fn available() -> Vec<usize> {
    let set = sched_getaffinity(None).unwrap_or_default();
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

/// From now on this thread, and those that it starts, run on `cores` alone; on any, if that is empty.
pub fn keep_to(cores: &[usize]) -> Result<(), Failure> {
    if cores.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
    sched_setaffinity(None, &set)
        .map_err(|error| Failure::Usage(format!("--cores {cores:?}: {error}")))
}

/// The cores of each of `jobs` processes that run side by side; empty lists if there are fewer than they need.
pub fn shared(available: &[usize], jobs: usize, threads: usize) -> Vec<Vec<usize>> {
    let each = available.len() / jobs.max(1);
    match each >= threads.max(1) {
        true => available.chunks_exact(each).take(jobs).map(<[usize]>::to_vec).collect(),
        false => vec![Vec::new(); jobs],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_share_the_cores_evenly_or_not_at_all() {
        assert_eq!(shared(&[0, 1, 2, 5, 6], 2, 1), [vec![0, 1], vec![2, 5]]);
        assert_eq!(shared(&[0, 1], 2, 1), [vec![0], vec![1]]);
        assert_eq!(shared(&[0, 1], 2, 2), vec![Vec::<usize>::new(); 2]);
        assert_eq!(shared(&[3], 4, 1), vec![Vec::<usize>::new(); 4]);
    }
}
