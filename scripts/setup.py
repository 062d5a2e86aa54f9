"""Sets up what a build and a run need, and nothing outside this checkout.

    python3 scripts/setup.py --torch lean train|report|docs|test

`train`: checks the prerequisites, makes `.venv` with the packages that training imports, brings
libtorch, and writes `.cargo/config.toml`, so that plain `cargo build --release` works.
`report`, `docs` and `test` add what a report, the site and the Python tests import.
Versions come from `requirements.txt`.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
LOCK = ROOT / "requirements.txt"
# libtorch's CPU side loads these two; the rest of CUDA is for GPUs and for `import torch`.
LEAN_TORCH = ["torch"] + ["nvidia-cuda-runtime", "nvidia-cuda-cupti"] * (sys.platform == "linux")


def run(*command):
    subprocess.run([str(word) for word in command], check=True, cwd=ROOT)


def output(*command):
    return subprocess.check_output([str(word) for word in command], cwd=ROOT, text=True).strip()


def pip(*arguments):
    run(VENV_PYTHON, "-m", "pip", "install", "--quiet", "--constraint", LOCK, *arguments)


def libpython():
    """The shared library that the program links, where this Python says it lies."""
    names = sysconfig.get_config_vars("LIBDIR", "LDLIBRARY", "PYTHONFRAMEWORKPREFIX")
    return Path(names[2] or names[0] or ".") / (names[1] or "")


def missing():
    """One line for each prerequisite that is not there, with the package that brings it."""
    needed = re.search(r'rust-version = "([\d.]+)"', (ROOT / "Cargo.toml").read_text()).group(1)
    if shutil.which("cargo") is None:
        yield f"Rust >= {needed} (cargo): apt install rustup && rustup default stable"
    else:
        found = re.search(r"[\d.]+", output("cargo", "--version")).group()
        if [int(n) for n in found.split(".")] < [int(n) for n in needed.split(".")]:
            yield f"Rust >= {needed} (cargo is {found}): rustup update stable"
    if shutil.which(os.environ.get("CXX", "c++")) is None:
        yield "a C++ compiler: apt install g++"
    if sys.version_info < (3, 10):  # noqa: UP036
        found = sys.version.split()[0]
        yield f"Python >= 3.10 ({sys.executable} is {found}): make PYTHON=python3.12"
    if importlib.util.find_spec("ensurepip") is None:
        yield "Python's venv module: apt install python3-venv"
    library = libpython()
    if library.suffix == ".a" or not library.is_file():
        yield (
            f"a shared libpython ({library} is static or not there): apt install python3-dev, or"
            " PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install 3.12"
        )


def make_venv():
    version = [VENV_PYTHON, "-m", "pip", "--version"]
    works = VENV_PYTHON.exists() and not subprocess.run(version, capture_output=True).returncode
    if not works:
        print("Setting up .venv", flush=True)
        run(sys.executable, "-m", "venv", "--clear", VENV)
    pip("pip")


def torch_package():
    """The folder of the package `torch` in `.venv`."""
    return Path(
        output(VENV_PYTHON, "-c", "import sysconfig as s; print(s.get_path('purelib'))"), "torch"
    )


def bring_libtorch(choice):
    """Brings libtorch as `choice` says; returns its folder."""
    pinned = re.search(r"^torch==([\d.]+)", LOCK.read_text(), re.MULTILINE).group(1)
    if choice == "lean":
        print(f"Installing libtorch {pinned}, CPU side (1.2 GB)", flush=True)
        pip("--no-deps", *LEAN_TORCH)
        return torch_package()
    if choice == "full":
        print(f"Installing PyTorch {pinned} with CUDA (4.9 GB)", flush=True)
        pip("torch")
        return torch_package()
    if choice.startswith(("http://", "https://")):
        print(f"Installing PyTorch {pinned} from {choice}", flush=True)
        pip("--index-url", choice, "torch")
        return torch_package()
    if choice == "python":
        code = "import os, torch; print(torch.__version__, os.path.dirname(torch.__file__))"
        try:
            version, folder = output(sys.executable, "-c", code).split(" ", 1)
        except subprocess.CalledProcessError:
            sys.exit(f"TORCH=python: {sys.executable} cannot import torch")
        if version.split("+")[0] != pinned:
            sys.exit(f"TORCH=python: {sys.executable} has PyTorch {version}; {pinned} is needed")
        return Path(folder)
    folder = Path(choice).resolve()
    if not (folder / "lib").is_dir():
        sys.exit(f"TORCH={choice}: not lean, full, python, a package index or a libtorch folder")
    return folder


def write_cargo_config(libtorch):
    """Tells cargo where libtorch and Python lie."""
    environment = {
        "LIBTORCH": libtorch,
        "PYO3_PYTHON": VENV_PYTHON,
        "STAC_BENCH_SITE_PACKAGES": torch_package().parent,
        # The build scripts link libpython to programs. pyo3 must not: the same crates also make
        # the Python package, which is loaded by a Python that is there already.
        "STAC_BENCH_LIBPYTHON": libpython(),
        "PYO3_BUILD_EXTENSION_MODULE": "1",
    }
    (ROOT / ".cargo").mkdir(exist_ok=True)
    lines = ["# Written by scripts/setup.py; `make setup` writes it anew.", "[env]"]
    # A JSON string is a TOML one too.
    lines += [f"{name} = {json.dumps(str(value))}" for name, value in environment.items()]
    (ROOT / ".cargo" / "config.toml").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(description="Sets up .venv, libtorch and .cargo/config.toml.")
    parser.add_argument("what", choices=["train", "report", "docs", "test"])
    parser.add_argument(
        "--torch", default="lean", help="lean, full, python, a folder or an index URL"
    )
    arguments = parser.parse_args()
    lines = list(missing())
    if lines:
        sys.exit("\n".join(f"missing: {line}" for line in lines))
    if arguments.what == "report":
        print("Installing what `stac-bench report` needs (0.5 GB)", flush=True)
        pip("--group", "report")
        return
    if arguments.what == "docs":
        print("Installing what builds the site (40 MB)", flush=True)
        pip("--group", "docs")
        return
    if arguments.what == "test":
        print("Installing what the tests need, PyTorch with CUDA among it (4.9 GB)", flush=True)
        pip("--group", "test")
        return
    make_venv()
    pip("--group", "train")
    write_cargo_config(bring_libtorch(arguments.torch))
    # So that `stac-bench report` finds its module; the package, where it is installed, comes first.
    (torch_package().parent / "stac-bench.pth").write_text(f"{ROOT / 'bridge' / 'python'}\n")
    (VENV / "torch").write_text(arguments.torch)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"set-up failed: {error}")
