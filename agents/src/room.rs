//! How much memory there is for something large, before it is asked for: a failed allocation ends the process.

use crate::error::{Error, Result};

/// An error about the setting `key`, whose value is `value`, if `what` takes more than the machine has free.
pub fn require(what: &str, bytes: u128, key: &str, value: impl ToString) -> Result<()> {
    match available() {
        Some(free) if bytes > u128::from(free) => {
            let reason = format!(
                "{what} would take {}, and {} are free",
                gigabytes(bytes),
                gigabytes(free.into())
            );
            Err(Error::config(key, value, reason))
        }
        _ => Ok(()),
    }
}

fn gigabytes(bytes: u128) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Bytes that this process may still take, where the system tells: what the machine has, or what its group may have.
fn available() -> Option<u64> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let memory = read("/proc/meminfo")?;
    let line = memory.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let number = |path| read(path)?.trim().parse::<u64>().ok();
    let most = number("/sys/fs/cgroup/memory.max");
    let group = most.zip(number("/sys/fs/cgroup/memory.current")).map(|(a, b)| a.saturating_sub(b));
    Some(group.map_or(machine, |group| group.min(machine)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_no_machine_has_is_refused_with_its_size() {
        let error =
            require("the replay memory", 5 << 60, "buffer_size", 7).unwrap_err().to_string();
        assert!(error.starts_with("`buffer_size` is 7: the replay memory would take"), "{error}");
        assert!(error.contains("5764607523.0 GB"), "{error}");
    }

    #[test]
    fn what_is_small_is_not() {
        require("the replay memory", 1 << 10, "buffer_size", 7).unwrap();
    }
}
