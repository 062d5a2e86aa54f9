//! Notes what the program was built from, the commit and libtorch's version, and lets it find
//! libtorch and libpython.

use std::path::Path;
use std::process::Command;

include!("scripts/link.rs");

fn main() {
    for library in [libtorch(), libpython()] {
        find_at_run_time(library.as_slice());
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    println!("cargo:rustc-env=STAC_BENCH_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=STAC_BENCH_LIBTORCH={}", libtorch_version().unwrap_or_default());

    println!("cargo:rerun-if-changed=src");
    println!("cargo:rerun-if-changed=configs");
    if let Some(head) = git(&["rev-parse", "--git-path", "logs/HEAD"])
        && Path::new(&head).exists()
    {
        println!("cargo:rerun-if-changed={head}");
    }
}

/// A PyTorch folder says its version in `version.py`, a plain libtorch in `build-version`.
fn libtorch_version() -> Option<String> {
    let folder = std::env::var("LIBTORCH").ok()?;
    let folder = Path::new(&folder);
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).ok();
    let from_python = || {
        let text = read("version.py")?;
        let line = text.lines().find(|line| line.starts_with("__version__"))?;
        line.split('\'').nth(1).map(str::to_owned)
    };
    from_python().or_else(|| read("build-version").map(|text| text.trim().to_owned()))
}
