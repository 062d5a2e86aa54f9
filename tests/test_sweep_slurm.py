"""`stac-bench sweep --on slurm` on a real SLURM of two nodes: the same bytes as on this machine."""

import pytest
import slurm
from conftest import need
from resuming import manifest
from same_run import differences
from test_sweep import grid

# As long as it takes for SLURM to say that a minute is nearly over.
SLOW = {"env_kwargs": {"pause": 0.1}}
RUNS = {name: {"algo": name} for name in ["ddpg", "td3", "sac", "stddpg-al", "stsac-al"]}
RUNS |= {"slow": {"algo": "ddpg", "set": SLOW}}
LIMIT = ["--slurm", "time=00:01:00", "signal=B:USR1@10"]


def folders(folder):
    small = folder / "runs" / "small"
    return {label: small / label / run["algo"] / "Point-v0_0" for label, run in RUNS.items()}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    need("SLURM", slurm.missing())
    cluster = slurm.Cluster(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def whole(stac_bench, tmp_path_factory):
    """The grid's runs on this machine."""
    folder = tmp_path_factory.mktemp("whole")
    done = stac_bench(folder, "sweep", grid(folder, runs=RUNS, seeds=1), "--jobs", 2)
    assert done.returncode == 0, done.stderr
    return folders(folder)


def test_an_array_ends_as_on_this_machine_whatever_befalls_its_nodes(
    stac_bench, cluster, whole, tmp_path
):
    file = grid(tmp_path, runs=RUNS, seeds=1)

    def sweep(*arguments):
        done = stac_bench(tmp_path, "sweep", file, *arguments, variables=cluster.variables)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "6 runs submitted: job array" in sweep("--on", "slurm", *LIMIT)
    assert "queued" in sweep("--status").splitlines()[0]
    assert "none that is not done" in sweep("--on", "slurm", *LIMIT)

    def on_the_second():
        return [line.split()[0] for line in cluster.queue() if line.endswith("RUNNING n1")]

    cluster.wait(on_the_second, "a task on the second node")
    cluster.kill_node("n1")
    cluster.wait(lambda: not cluster.queue(), "the end of all tasks", 400)
    for label, run in folders(tmp_path).items():
        assert manifest(run)["status"] == "done", label
        assert differences(whole[label], run) == [], label
    # The slow one met its limit at least once.
    assert manifest(folders(tmp_path)["slow"])["resumes"]
    assert sweep("--on", "slurm") == "6 runs: none that is not done, running or queued\n"
    assert sweep() == "6 runs, all done\n"
    assert not list((tmp_path / "runs").rglob("*.claim*"))
    cluster.start_node("n1")
    cluster.wait(lambda: cluster.nodes() == {"n0": "idle", "n1": "idle"}, "both nodes")


def test_a_run_that_fails_leaves_the_others_alone_and_is_submitted_again(
    stac_bench, cluster, tmp_path
):
    fault = {"env_kwargs": {"fault": "exception", "after": 90}}
    runs = {"broken": {"algo": "ddpg", "set": fault}, "whole": {"algo": "ddpg"}}
    file = grid(tmp_path, runs=runs, seeds=1)
    variables = cluster.variables
    for _ in range(2):
        done = stac_bench(tmp_path, "sweep", file, "--on", "slurm", variables=variables)
        assert done.returncode == 0, done.stderr
        cluster.wait(lambda: not cluster.queue(), "the end of all tasks")
    assert "1 runs submitted" in done.stdout
    table = stac_bench(tmp_path, "sweep", file, "--status", variables=variables).stdout
    assert "the motor is on fire" in table.splitlines()[-1], table
    assert manifest(tmp_path / "runs/small/whole/ddpg/Point-v0_0")["status"] == "done"


REFUSED = {
    "partition=nowhere": ["sbatch", "partition"],
    "array=0-3": ["--slurm array=0-3", "own"],
    "arr=0-3": ["--slurm arr=0-3", "own"],
    "sig=TERM@60": ["B:USR1@"],
    "partition": ["--slurm partition", "KEY=VALUE"],
    "--mem=4G": ["--slurm", "KEY=VALUE"],
    "signal=TERM@60": ["B:USR1@"],
}


@pytest.mark.parametrize("option", REFUSED)
def test_options_that_cannot_be_are_told_and_nothing_is_left(stac_bench, cluster, tmp_path, option):
    file = grid(tmp_path)
    words = ["sweep", file, "--on", "slurm", f"--slurm={option}"]
    done = stac_bench(tmp_path, *words, variables=cluster.variables)
    assert done.returncode == 2, done.stderr
    assert "panicked" not in done.stderr
    for word in REFUSED[option]:
        assert word in done.stderr, done.stderr
    assert not list(tmp_path.rglob("grid.yml"))[1:]


def test_without_slurm_it_says_what_is_missing(stac_bench, tmp_path):
    done = stac_bench(
        tmp_path, "sweep", grid(tmp_path), "--on", "slurm", variables={"PATH": str(tmp_path)}
    )
    assert done.returncode == 2
    assert "`sbatch` failed: it is not on the PATH" in done.stderr
