"""Disks that are full, calls that fail, bytes that change: the run is right or says what is wrong.

`faults.c`, preloaded, makes the n-th write, sync or rename below the run's folder fail, or kills
the process at it.
"""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from conftest import ALLOWED
from crash_cases import OFF_POLICY, ON_POLICY, Case
from crash_damage import damages
from killing import HANGS
from resuming import finished, manifest, run_in, words
from same_run import differences

KINDS = ("EIO", "ENOSPC", "KILL")
CALLS = 30
JOBS = min(2, len(os.sched_getaffinity(0)))


@pytest.fixture(scope="module")
def whole(stac_bench, tmp_path_factory):
    """A run of `words()` that nothing came across, its checkpoints kept."""
    return finished(stac_bench, tmp_path_factory.mktemp("whole"), *words(), "--keep-checkpoint")


def truthful(status, run, whole):
    """Asserts that the manifest does not call a run done that is not, nor the other way round."""
    if not (run / "manifest.json").exists():
        assert status != 0
        return
    told = manifest(run)["status"]
    if status == 0:
        assert told == "done"
    elif told == "done":
        # The last call of all failed: the sync after the manifest was renamed.
        assert differences(whole, run) == []
    else:
        assert told in ("running", "failed", "interrupted")  # the last as it is cleared away


@pytest.fixture(scope="module")
def calls(library, start, tmp_path_factory):
    """The calls of a whole run, in order: `n call path`."""
    folder = tmp_path_factory.mktemp("calls")
    log = folder / "log"
    variables = {"LD_PRELOAD": library, "FAULT_UNDER": "runs/ddpg/", "FAULT_LOG": log}
    variables = {name: str(value) for name, value in variables.items()}
    process = start(folder, *words(), variables=variables)
    assert process.end() == 0, process.stderr()
    return log.read_text().splitlines()


def sample(calls, random):
    """`(n, kind)`: half of them calls for checkpoints, all of them spread over the run."""
    for_checkpoints = [int(line.split()[0]) for line in calls if "/checkpoints" in line]
    others = [int(line.split()[0]) for line in calls if "/checkpoints" not in line]
    assert len(for_checkpoints) > CALLS
    chosen = random.sample(for_checkpoints, CALLS // 2)
    chosen += random.sample(others, min(CALLS // 2, len(others)))
    return [(n, KINDS[i % len(KINDS)]) for i, n in enumerate(chosen)]


def test_a_call_that_fails_costs_no_result(library, start, whole, calls, tmp_path):
    """One call of the run fails, then one of its resume; the next resume is left in peace."""
    random = Random(0)

    def one(task):
        n, kind = task
        folder = tmp_path / f"{n}-{kind}"
        folder.mkdir()
        run = run_in(folder)
        said = []
        for at in (n, random.randint(1, len(calls) // 2), 0):
            variables = {"FAULT_UNDER": "runs/ddpg/", "FAULT_AT": str(at), "FAULT": kind}
            variables |= {"LD_PRELOAD": str(library)} if at else {}
            process = start(folder, *words(), "--resume", variables=variables)
            status = process.end(60)
            said.append(f"call {at} of {kind}: {status}\n{process.stderr()}")
            assert status in ((0, 1, -9) if at else (0,)), said
            assert status != HANGS and "panicked" not in said[-1], said
            truthful(status, run, whole)
        assert differences(whole, run) == [], said
        shutil.rmtree(folder)

    with ThreadPoolExecutor(JOBS) as pool:
        list(pool.map(one, sample(calls, random)))


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "none", disk]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a file system: none can be full")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def size(folder):
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*"))


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6, 0.8])
def test_a_full_disk_ends_a_run_that_goes_on_when_there_is_room(
    stac_bench, whole, small_disk, share
):
    free = os.statvfs(small_disk)
    ballast = small_disk / "ballast"
    room = int(share * size(whole))
    ballast.write_bytes(bytes(free.f_bavail * free.f_bsize - room))
    done = stac_bench(small_disk, *words(), "--keep-checkpoint", "--resume")
    run = run_in(small_disk)
    assert done.returncode == 1, done.stderr
    assert "No space left" in done.stderr and "panicked" not in done.stderr
    told = manifest(run)
    assert (told["status"], told["exit_status"]) == ("failed", 1)
    ballast.unlink()
    done = stac_bench(small_disk, *words(), "--keep-checkpoint", "--resume")
    assert done.returncode == 0, done.stderr
    assert differences(whole, run) == []


@pytest.mark.parametrize(
    "case",
    [
        Case("ddpg", "InvertedPendulum-v4", 1, tuple(OFF_POLICY)),
        Case("ac", "CartPole-v1", 2, tuple(ON_POLICY)),
    ],
    ids=lambda case: case.name,
)
def test_a_changed_byte_of_a_checkpoint_is_found(binary, tmp_path, case):
    """Flipped or cut: the older generation is taken and the file named, or the run refused."""
    rows, wrong = damages(binary, tmp_path, 30, case, 0, JOBS)
    assert len(rows) == 30
    assert not wrong, "\n".join(wrong)


def test_checkpoints_that_are_all_damaged_are_an_error(stac_bench, whole, tmp_path):
    """Never a start from nothing over what there was."""
    run = run_in(tmp_path)
    shutil.copytree(whole, run)
    for path in (run / "checkpoints").rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * 100)
    done = stac_bench(tmp_path, "resume", run, *ALLOWED, "--steps", 800)
    assert done.returncode == 1, done.stderr
    assert "checkpoints" in done.stderr and "panicked" not in done.stderr
    assert (run / "final_model").exists()


def test_files_that_grow_are_cut_back_to_the_checkpoint(stac_bench, whole, tmp_path):
    """What a run wrote after its last checkpoint, half a row included, is gone."""
    run = run_in(tmp_path)
    shutil.copytree(whole, run)
    (run / "0.monitor.csv").open("a").write("-1.5,20,0.9\n-134.5,2")
    (run / "progress.csv").open("a").write("500,")
    (events,) = run.glob("events.out.tfevents.*")
    events.open("ab").write(b"\x18\0\0\0\0\0\0\0half a record")
    done = stac_bench(tmp_path, "resume", run, *ALLOWED, "--steps", 800)
    assert done.returncode == 0, done.stderr
    other = tmp_path / "other"
    other.mkdir()
    assert stac_bench(other, *words(), "--steps", 800).returncode == 0
    assert differences(run_in(other), run) == []
