//! Checkpoints on disk: what is written comes back, what is harmed is found, and nothing is kept too long.
#![allow(clippy::unwrap_used)]

use agents::checkpoint::{Checkpoint, Store, encode};
use agents::memory::Replay;
use agents::{Error, Result};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of its own for each test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("checkpoint-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        Store::new(self.0.join("checkpoints"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join("checkpoints").join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CAPACITY: usize = 300;

fn memory() -> Replay {
    Replay::new(CAPACITY, 2, 1)
}

/// Adds transitions that tell their number.
fn push(replay: &mut Replay, count: u64) {
    for number in replay.pushed()..replay.pushed() + count {
        let x = number as f32;
        let end = (number % 3 == 0, number % 5 == 0);
        replay.push(&[x, -x], &[x / 2.0], x + 0.5, &[x + 1.0, -x], end);
    }
}

fn write(store: &mut Store, step: u64, replay: &Replay) {
    let parts = [("step", encode(&step).unwrap()), ("place", encode(&replay.place()).unwrap())];
    store.write(step, json!({"says": step}), &parts, Some(replay)).unwrap();
}

/// What the newest checkpoint that can be read holds.
fn read(store: &mut Store) -> Result<Option<(u64, Replay)>> {
    store.newest(&mut |checkpoint, rows| {
        let mut replay = memory();
        rows.fill(checkpoint, &mut replay)?;
        replay.settle(checkpoint.value("place")?);
        assert_eq!(checkpoint.value::<u64>("step")?, checkpoint.step());
        assert_eq!(checkpoint.about()["says"], checkpoint.step());
        Ok((checkpoint.step(), replay))
    })
}

#[test]
fn a_memory_comes_back_whatever_is_pushed_between_checkpoints() {
    // More at once than a file of rows, than all of the memory, nothing, and round the ring.
    for counts in [&[1, 0, 3, 4, 5, 6][..], &[100, 250, 7, 0, 300], &[299, 1, 1, 900, 2, 2, 299]] {
        let folder = Folder::new("pushes");
        let (mut store, mut replay) = (folder.store(), memory());
        for (step, &count) in counts.iter().enumerate() {
            push(&mut replay, count);
            write(&mut store, step as u64, &replay);
            assert_eq!(read(&mut folder.store()).unwrap(), Some((step as u64, replay.clone())));
        }
    }
}

#[test]
fn a_store_goes_on_from_what_it_has_read_and_leaves_out_what_came_after() {
    let folder = Folder::new("goes-on");
    let (mut store, mut replay) = (folder.store(), memory());
    push(&mut replay, 220);
    write(&mut store, 10, &replay);
    let mut later = replay.clone();
    // Rows that no generation tells of, as a kill leaves them.
    push(&mut later, 50);
    write(&mut store, 20, &later);
    fs::remove_dir_all(folder.file("20")).unwrap();

    let mut store = folder.store();
    let (_, mut again) = read(&mut store).unwrap().unwrap();
    assert_eq!(again, replay);
    push(&mut again, 130);
    write(&mut store, 30, &again);
    assert_eq!(read(&mut folder.store()).unwrap(), Some((30, again)));
}

#[test]
fn two_generations_stay_and_the_rows_that_they_need() {
    let folder = Folder::new("kept");
    let (mut store, mut replay) = (folder.store(), memory());
    for step in 1..=40 {
        push(&mut replay, 30);
        write(&mut store, step, &replay);
        let kept: Vec<u64> = (1..=step).rev().take(2).collect();
        assert_eq!(store.steps().unwrap(), kept);
    }
    let rows = fs::read_dir(folder.file("replay")).unwrap();
    let bytes: u64 = rows.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    // All of the memory, what one generation has more than the other, and at most two files in part.
    let most = (CAPACITY + 30 + 2 * 64) * replay.row_bytes();
    assert!(bytes <= most as u64, "{bytes} > {most}");
}

/// Changes the middle byte of a file, or cuts it there.
fn harm(path: &Path, cut: bool) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    if cut {
        bytes.truncate(middle);
    } else {
        bytes[middle] ^= 1;
    }
    fs::write(path, bytes).unwrap();
}

#[test]
fn harm_is_found_and_the_generation_before_it_taken() {
    for (name, cut) in
        ["MANIFEST", "step", "place"].into_iter().flat_map(|n| [(n, false), (n, true)])
    {
        let folder = Folder::new("harm");
        let (mut store, mut replay) = (folder.store(), memory());
        push(&mut replay, 20);
        write(&mut store, 1, &replay);
        let first = replay.clone();
        push(&mut replay, 20);
        write(&mut store, 2, &replay);
        harm(&folder.file("2").join(name), cut);
        let mut store = folder.store();
        assert_eq!(read(&mut store).unwrap(), Some((1, first.clone())), "{name}");
        // The step comes again, and this time it is whole.
        write(&mut store, 2, &replay);
        assert_eq!(read(&mut folder.store()).unwrap(), Some((2, replay)), "{name}");

        for step in ["1", "2"] {
            harm(&folder.file(step).join(name), cut);
        }
        let error = read(&mut folder.store()).unwrap_err();
        assert!(
            matches!(&error, Error::Checkpoint { path, .. } if path.ends_with(name)),
            "{error}"
        );
    }
}

#[test]
fn harmed_rows_are_found() {
    let folder = Folder::new("rows");
    let (mut store, mut replay) = (folder.store(), memory());
    push(&mut replay, 40);
    write(&mut store, 1, &replay);
    let first = replay.clone();
    push(&mut replay, 200);
    write(&mut store, 2, &replay);
    harm(&folder.file("replay/64.bin"), false);
    assert_eq!(read(&mut folder.store()).unwrap(), Some((1, first)));
    harm(&folder.file("replay/0.bin"), true);
    assert!(matches!(read(&mut folder.store()), Err(Error::Checkpoint { .. })));
}

#[test]
fn a_generation_that_was_not_finished_is_none() {
    let folder = Folder::new("unfinished");
    let (mut store, mut replay) = (folder.store(), memory());
    push(&mut replay, 20);
    write(&mut store, 1, &replay);
    fs::create_dir(folder.file("2.tmp")).unwrap();
    fs::write(folder.file("2.tmp/MANIFEST"), "{").unwrap();
    assert_eq!(read(&mut folder.store()).unwrap(), Some((1, replay.clone())));
    write(&mut store, 2, &replay);
    assert_eq!(store.steps().unwrap(), [2, 1]);
    assert!(!folder.file("2.tmp").exists());
}

/// Changes the manifest of a generation by hand, hash included.
fn forge(folder: &Folder, from: &str, to: &str) -> String {
    let path = folder.file("1").join("MANIFEST");
    let text = fs::read_to_string(&path).unwrap();
    let (json, _) = text.trim_end().rsplit_once('\n').unwrap();
    assert!(json.contains(from), "{json}");
    let json = json.replace(from, to);
    let hash = xxhash_rust::xxh3::xxh3_64(json.as_bytes());
    fs::write(&path, format!("{json}\n{hash:016x}\n")).unwrap();
    Checkpoint::open(&folder.file("1")).map(drop).unwrap_err().to_string()
}

fn one_generation(name: &str) -> Folder {
    let folder = Folder::new(name);
    let (mut store, mut replay) = (folder.store(), memory());
    push(&mut replay, 1);
    write(&mut store, 1, &replay);
    folder
}

#[test]
fn a_newer_format_says_so() {
    let error = forge(&one_generation("format"), "\"format\": 1", "\"format\": 2");
    assert!(error.contains("format is 2") && error.contains("up to 1"), "{error}");
}

#[test]
fn a_part_is_a_file_of_its_folder() {
    for name in ["/etc/hostname", "../1/step", "..", "", "a/b", "/dev/zero"] {
        let folder = one_generation("names");
        let error = forge(&folder, "\"step\": {", &format!("\"{name}\": {{"));
        assert!(error.contains("no name of a file"), "{name}: {error}");
    }
}

#[test]
fn a_part_that_is_no_file_or_longer_than_told_is_not_read() {
    let folder = one_generation("pipes");
    let step = folder.file("1").join("step");
    let refused = |says: &str| {
        let error = Checkpoint::open(&folder.file("1")).map(drop).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    };
    fs::write(&step, [0; 10_000]).unwrap();
    refused("more than 1 bytes");
    fs::remove_file(&step).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &step).unwrap();
    refused("no regular file");
    fs::remove_file(&step).unwrap();
    fs::create_dir(&step).unwrap();
    refused("a folder");
}

#[test]
fn checkpoints_that_cannot_be_looked_at_are_not_none() {
    let folder = one_generation("hidden");
    fs::rename(folder.file(""), folder.0.join("elsewhere")).unwrap();
    assert_eq!(folder.store().steps().unwrap(), [0; 0]);
    std::os::unix::fs::symlink(folder.0.join("nowhere"), folder.0.join("checkpoints")).unwrap();
    assert!(matches!(folder.store().steps(), Err(Error::Checkpoint { .. })));
    assert!(matches!(read(&mut folder.store()), Err(Error::Checkpoint { .. })));
}

#[test]
fn a_folder_is_a_stores_own_only_if_nothing_else_is_in_it() {
    let folder = one_generation("own");
    assert!(folder.store().is_all_there_is().unwrap());
    fs::create_dir(folder.file("2.tmp")).unwrap();
    assert!(folder.store().is_all_there_is().unwrap());
    fs::create_dir(folder.file("7")).unwrap();
    assert!(!folder.store().is_all_there_is().unwrap(), "a number alone is no generation");
    fs::remove_dir(folder.file("7")).unwrap();
    fs::write(folder.file("notes.txt"), "").unwrap();
    assert!(!folder.store().is_all_there_is().unwrap());
}

#[test]
fn rows_of_other_observations_are_refused() {
    let folder = Folder::new("other");
    let (mut store, mut replay) = (folder.store(), memory());
    push(&mut replay, 5);
    write(&mut store, 1, &replay);
    let found = folder
        .store()
        .newest(&mut |checkpoint, rows| rows.fill(checkpoint, &mut Replay::new(CAPACITY, 3, 1)));
    assert!(found.unwrap_err().to_string().contains("other observations"));
}
