"""The wheel in a clean environment, and the console script that it brings."""

import os
import signal
import subprocess
import sysconfig
import zipfile

import pytest
from conftest import QUICK, ROOT


@pytest.fixture(scope="module")
def wheel():
    """The wheel that `make wheel` has built."""
    wheels = sorted((ROOT / "dist").glob("stac_bench-*.whl"), key=lambda path: path.stat().st_mtime)
    assert wheels, "make wheel"
    return wheels[-1]


@pytest.fixture(scope="module")
def clean(python, wheel, tmp_path_factory):
    """A new environment with the wheel; what it depends on comes from `.venv`."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site, own = (
        subprocess.check_output([at, "-c", code], text=True).strip()
        for at in (python, folder / "bin" / "python")
    )
    with open(os.path.join(own, "dependencies.pth"), "w") as file:
        file.write(f"import site; site.addsitedir({site!r})")
    # Not over the one in `.venv`, which pip would find and remove.
    pip = [python, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--ignore-installed", wheel], check=True)
    return folder


def test_it_imports_trains_saves_and_loads(clean, tmp_path):
    code = (
        "import numpy, stac_bench, sys\n"
        "assert stac_bench.__file__.startswith(sys.prefix), stac_bench.__file__\n"
        "model = stac_bench.STSAC('MlpPolicy', 'Pendulum-v1', learning_starts=50, seed=0)\n"
        "model.learn(80).save('model')\n"
        "obs = numpy.ones((1, 3), numpy.float32)\n"
        "again = stac_bench.STSAC.load('model')\n"
        "assert again.predict(obs, deterministic=True) == model.predict(obs, deterministic=True)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(
        [clean / "bin" / "python", "-c", code], cwd=tmp_path, env=environment, check=True
    )


def test_nothing_in_it_points_into_this_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        library = next(name for name in names if name.endswith(".so"))
        assert "stac_bench/py.typed" in names and "stac_bench/_native.pyi" in names
        path = archive.extract(library, tmp_path)
    headers = subprocess.check_output(["readelf", "--dynamic", path], text=True)
    assert "libtorch_cpu" in headers
    assert "RUNPATH" not in headers and "RPATH" not in headers and "libpython" not in headers
    # Any Python from 3.10 on, whatever built it.
    assert "-cp310-abi3-" in wheel.name
    assert sysconfig.get_config_var("EXT_SUFFIX") not in library


def test_the_console_script_is_the_command_line(clean, stac_bench, tmp_path):
    script = clean / "bin" / "stac-bench"

    def run(*arguments):
        return subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True)

    assert run("algos").stdout == stac_bench(tmp_path, "algos").stdout
    quick = ["--env", "Pendulum-v1", "--algo", "ddpg", *QUICK]
    done = run(*quick, "--seeds", "2", "--out", "several")
    assert done.returncode == 0, done.stderr
    for seed in (0, 1):
        assert (tmp_path / f"several/ddpg/Pendulum-v1_{seed}/evaluations.npz").exists()
    for wrong in (["--algo", "dpg", "--env", "Pendulum-v1"], ["--algo"], ["--env", "No-v0"]):
        ours, reference = run(*wrong), stac_bench(tmp_path, *wrong)
        assert (ours.returncode, ours.stderr) == (reference.returncode, reference.stderr)
        assert ours.returncode == 2


def test_ctrl_c_ends_the_console_script_in_good_order(clean, tmp_path):
    command = [clean / "bin" / "stac-bench", "--env", "Pendulum-v1", "--algo", "ddpg"]
    run = tmp_path / "runs" / "ddpg" / "Pendulum-v1_0"
    with subprocess.Popen(
        [*command, "--set", "log_freq=100"], cwd=tmp_path, stderr=subprocess.DEVNULL
    ) as process:
        while not (run / "progress.csv").exists() and process.poll() is None:
            pass
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    assert '"status": "interrupted"' in (run / "manifest.json").read_text()
    assert (run / "final_model").is_dir()
