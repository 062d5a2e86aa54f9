"""Builds the wheel: maturin, told where libtorch lies.

`pip install .` works on a fresh machine and in a checkout that `make setup` has prepared. libtorch
is that of `LIBTORCH`, of the checkout's `.cargo/config.toml`, of the PyTorch of the Python that
builds, or of one that is brought for the build, in this order.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import maturin
from maturin import (  # noqa: F401
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

ROOT = Path(__file__).resolve().parents[2]
TORCH = "torch==2.13.*"


def cargo_settings():
    """The environment of `.cargo/config.toml`, where there is one."""
    config = ROOT / ".cargo" / "config.toml"
    text = config.read_text() if config.exists() else ""
    return dict(re.findall(r'^(\w+) = "(.*)"$', text, re.MULTILINE))


def torch_folder(*flags):
    """The folder of the PyTorch that this Python imports under `flags`."""
    code = "import importlib.util as u; s = u.find_spec('torch'); print(s.origin if s else '')"
    found = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True)
    return Path(found.stdout.strip()).parent if found.stdout.strip() else None


def known_libtorch():
    """libtorch without bringing one. `-I` looks past the build's own packages."""
    named = os.environ.get("LIBTORCH") or cargo_settings().get("LIBTORCH")
    return Path(named) if named else torch_folder("-I")


def get_requires_for_build_wheel(config_settings=None):
    needed = maturin.get_requires_for_build_wheel(config_settings)
    return needed if known_libtorch() else [*needed, TORCH]


def with_libtorch(build, *arguments):
    folder = known_libtorch() or torch_folder()
    if folder is None or not (folder / "lib").is_dir():
        sys.exit(f"no libtorch: pip install '{TORCH}', or set LIBTORCH to its folder")
    # What `make setup` has told cargo is kept to the letter, so that nothing is built twice.
    wanted = {"LIBTORCH": str(folder), "PYO3_PYTHON": sys.executable, **cargo_settings()}
    os.environ.update({"PYO3_BUILD_EXTENSION_MODULE": "1", **wanted})
    return build(*arguments)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    arguments = wheel_directory, config_settings, metadata_directory
    return with_libtorch(maturin.build_wheel, *arguments)


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    arguments = wheel_directory, config_settings, metadata_directory
    return with_libtorch(maturin.build_editable, *arguments)
