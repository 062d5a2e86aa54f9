//! How much memory there is for something large, before it is asked for: a failed allocation ends the process.

use crate::error::{Error, Result};
use std::fs::read_to_string;
use std::path::Path;

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

/// Bytes that this process may still take, where the system tells: what the machine has, or what its groups may have.
fn available() -> Option<u64> {
    let memory = read_to_string("/proc/meminfo").ok()?;
    let machine = entry(&memory, "MemAvailable:")?.checked_mul(1024)?;
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    Some(
        in_groups(&groups, Path::new("/sys/fs/cgroup")).map_or(machine, |group| group.min(machine)),
    )
}

/// What the least of a process's groups has left; `groups` are the lines of `/proc/self/cgroup`, mounted at `root`. A batch
/// system limits one far down, a container its root.
fn in_groups(groups: &str, root: &Path) -> Option<u64> {
    let left = |line: &str| {
        let (_, line) = line.split_once(':')?;
        let (kinds, path) = line.split_once(":/")?;
        // The second version of groups has one tree for all, the first one for each kind.
        let (root, most, used, cache) = match kinds {
            "" => (root.to_owned(), "memory.max", "memory.current", "inactive_file "),
            _ if kinds.split(',').any(|kind| kind == "memory") => {
                let root = root.join("memory");
                (root, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            }
            _ => return None,
        };
        let of = |folder: &Path| {
            let number = |name: &str| read_to_string(folder.join(name)).ok()?.trim().parse().ok();
            let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
            // Pages of files that were read once make room for others.
            let used = u64::saturating_sub(number(used)?, entry(&stat, cache).unwrap_or(0));
            Some(u64::saturating_sub(number(most)?, used))
        };
        Path::new(path).ancestors().filter_map(|group| of(&root.join(group))).min()
    };
    groups.lines().filter_map(left).min()
}

/// The number behind `name` at the start of a line.
fn entry(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
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
    fn the_least_of_all_groups_counts_in_both_versions() {
        let root = std::env::temp_dir().join(format!("groups-{}", std::process::id()));
        let write = |folder: &str, files: &[(&str, &str)]| {
            let folder = root.join(folder);
            std::fs::create_dir_all(&folder).unwrap();
            files.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
        };
        write("job", &[("memory.max", "1000\n"), ("memory.current", "300\n")]);
        write("job", &[("memory.stat", "anon 5\ninactive_file 100\n")]);
        write("job/step", &[("memory.max", "max\n"), ("memory.current", "200\n")]);
        assert_eq!(in_groups("0::/job/step\n", &root), Some(800));
        assert_eq!(in_groups("0::/\n", &root), None);
        write("memory/a", &[("memory.limit_in_bytes", "500"), ("memory.usage_in_bytes", "90")]);
        assert_eq!(in_groups("4:cpu:/a\n3:memory:/a/gone\n0::/\n", &root), Some(410));
        assert_eq!(in_groups("no group", &root), None);
        std::fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn what_is_small_is_not() {
        require("the replay memory", 1 << 10, "buffer_size", 7).unwrap();
    }
}
