//! What computes: this program, its libraries and its machine.

use crate::failure::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// All that the bytes of a result may depend on, besides settings and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The version of this program.
    pub stac_bench: String,
    /// The commit that it was built from.
    pub commit: String,
    /// Of libtorch, Python and the Python packages that matter.
    pub versions: BTreeMap<String, String>,
    /// The machine.
    pub machine: Machine,
}

/// A machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Of the operating system.
    pub os: String,
    /// Of the instruction set.
    pub architecture: String,
    /// The processor's name, where Linux tells it.
    pub cpu: Option<String>,
    /// How many.
    pub cores: Option<usize>,
}

impl Host {
    /// This one.
    pub fn here() -> Result<Self, Failure> {
        let mut versions: BTreeMap<_, _> = bridge::versions()?.into_iter().collect();
        versions.insert("libtorch".into(), crate::LIBTORCH.into());
        Ok(Self {
            stac_bench: env!("CARGO_PKG_VERSION").to_owned(),
            commit: env!("STAC_BENCH_COMMIT").to_owned(),
            versions,
            machine: Machine {
                os: std::env::consts::OS.to_owned(),
                architecture: std::env::consts::ARCH.to_owned(),
                cpu: cpu(),
                cores: std::thread::available_parallelism().ok().map(Into::into),
            },
        })
    }

    /// `name: theirs -> ours` of each version that differs from that of `earlier`.
    pub fn other_versions(&self, earlier: &Self) -> Vec<String> {
        let all = |host: &Self| {
            let own = [("stac_bench", &host.stac_bench), ("commit", &host.commit)];
            let own = own.map(|(name, value)| (name.to_owned(), value.clone()));
            let libraries = host.versions.clone().into_iter();
            libraries.chain(own).collect::<BTreeMap<_, _>>()
        };
        let (theirs, ours) = (all(earlier), all(self));
        let names = theirs.keys().chain(ours.keys().filter(|name| !theirs.contains_key(*name)));
        let value = |of: &BTreeMap<String, String>, name: &String| {
            of.get(name).map_or("none", String::as_str).to_owned()
        };
        names
            .filter(|name| theirs.get(*name) != ours.get(*name))
            .map(|name| format!("{name}: {} -> {}", value(&theirs, name), value(&ours, name)))
            .collect()
    }

    /// The same of the processor.
    pub fn other_cpu(&self, earlier: &Self) -> Option<String> {
        let name = |host: &Self| host.machine.cpu.clone().unwrap_or_else(|| "unknown".to_owned());
        let (theirs, ours) = (name(earlier), name(self));
        (theirs != ours).then(|| format!("cpu: {theirs} -> {ours}"))
    }
}

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
