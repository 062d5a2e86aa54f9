"""Set-up: pins are exact, and what is missing is named in one line."""

import re
import subprocess
import sys
from importlib import metadata

from conftest import ROOT
from packaging.requirements import Requirement

SETUP = [sys.executable, ROOT / "scripts" / "setup.py"]


def pins():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_every_requirement_is_pinned_exactly():
    assert len(pins()) > 50
    for pin in pins():
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; .+)?", pin), pin


def test_installed_packages_are_the_pinned_ones():
    installed = {d.name.lower().replace("_", "-"): d.version for d in metadata.distributions()}
    applying = [r for r in map(Requirement, pins()) if r.marker is None or r.marker.evaluate()]
    wrong = {
        r.name: installed[r.name]
        for r in applying
        if r.name in installed and installed[r.name] not in r.specifier
    }
    assert {"gymnasium", "mujoco", "numpy", "torch"} <= installed.keys()
    assert not wrong


def test_missing_prerequisites_are_named_in_one_line_each(tmp_path):
    environment = {"PATH": str(tmp_path)}
    done = subprocess.run([*SETUP, "train"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    rust, compiler = done.stderr.splitlines()
    assert rust.startswith("missing: Rust >= ") and "apt install rustup" in rust
    assert compiler == "missing: a C++ compiler: apt install g++"


def test_old_cargo_is_named_with_its_version(tmp_path):
    cargo = tmp_path / "cargo"
    cargo.write_text("#!/bin/sh\necho cargo 1.63.0\n")
    cargo.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/bin:/usr/bin"}
    done = subprocess.run([*SETUP, "train"], env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "cargo is 1.63.0" in done.stderr
