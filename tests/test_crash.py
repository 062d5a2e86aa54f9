"""Fifty kills of `benchmarks/crash.py`, and whether its comparison finds what differs."""

import os
import re
from random import Random

import pandas as pd
import pytest
from crash_cases import OFF_POLICY, Case, Ledger, all_cases
from crash_flat import MOST, growth, samples
from crash_kills import COLUMNS, campaign, table
from resuming import copy_of
from same_run import differences
from torch.utils.tensorboard import SummaryWriter

KILLS = 50


def test_fifty_kills_and_no_difference(binary, tmp_path):
    """Two cases of each algorithm; those of another day would do as well."""
    random = Random(0)
    by_algo = {}
    for case in all_cases(binary):
        by_algo.setdefault(case.algo, []).append(case)
    chosen = [case for cases in by_algo.values() for case in random.sample(cases, 2)]
    ledger = Ledger(tmp_path / "crash.csv", COLUMNS)
    jobs = min(2, len(os.sched_getaffinity(0)))
    rows, wrong = campaign(binary, tmp_path, KILLS, chosen, 0, jobs, ledger)
    assert not wrong, "\n".join(wrong)
    assert len(rows) == len(ledger.read()) >= KILLS
    assert {row["algo"] for row in rows} == by_algo.keys()
    # Kills of every kind: before a checkpoint, between two, and as one was written.
    assert any(row["checkpoint"] == "" for row in rows)
    assert {row["during_checkpoint"] for row in rows} == {"yes", "no"}
    assert f"{len(rows)} |" in table(ledger.read()).splitlines()[-1]


def test_memory_and_open_files_stay_flat(binary, tmp_path):
    case = Case("ddpg", "InvertedPendulum-v4", 1, tuple(OFF_POLICY))
    found, status, stderr = samples(binary, tmp_path, case, 20_000)
    assert status == 0, stderr
    assert len(found) >= 20
    memory, files = growth(found)
    assert memory <= MOST
    assert files <= 0


@pytest.fixture(scope="module")
def run(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), "stddpg-al", "InvertedPendulum-v4")


@pytest.fixture
def other(run, tmp_path):
    return copy_of(run, tmp_path)


def test_the_same_command_line_gives_the_same_run(train, run, tmp_path):
    again = train(tmp_path, "stddpg-al", "InvertedPendulum-v4")
    assert differences(run, again) == []


def test_another_seed_gives_another(train, run, tmp_path):
    again = train(tmp_path, "stddpg-al", "InvertedPendulum-v4", seed=1)
    found = " ".join(differences(run, again))
    for file in ("final_model", "evaluations.npz", "progress.csv", "monitor.csv", "TensorBoard"):
        assert file in found


@pytest.mark.parametrize(
    "file", ["best_model/model.safetensors", "final_model/model.safetensors", "evaluations.npz"]
)
def test_a_changed_byte_is_a_difference(run, other, file):
    content = bytearray((other / file).read_bytes())
    content[-40] ^= 1
    (other / file).write_bytes(content)
    assert differences(run, other) == [f"{file}: from byte {len(content) - 40} on"]


@pytest.mark.parametrize("file", ["progress.csv", "0.monitor.csv", "evaluations.npz"])
def test_a_missing_file_is_a_difference(run, other, file):
    (other / file).unlink()
    assert differences(run, other) == [f"{file}: missing"]


@pytest.mark.parametrize(
    "file, ending",
    [
        ("0.monitor.csv", "-1"),  # half a row
        ("0.monitor.csv", "-1,20,0.5\n"),
        ("progress.csv", "500,1.0\n"),
    ],
)
def test_more_rows_are_a_difference(run, other, file, ending):
    with (other / file).open("a") as table_:
        table_.write(ending)
    (found,) = differences(run, other)
    assert found.startswith(f"{file}: from ")


def test_clocks_are_no_difference(run, other):
    path = other / "0.monitor.csv"
    header, names, *rows = path.read_text().splitlines()
    rows = [row.rpartition(",")[0] + ",123.4" for row in rows]
    header = re.sub(r'"t_start": ?[\d.]+', '"t_start": 1.5', header)
    assert "1.5" in header
    path.write_text("\n".join([header, names, *rows]) + "\n")
    progress = pd.read_csv(other / "progress.csv", dtype=str, keep_default_na=False)
    progress["time/fps"] = "1"
    progress.to_csv(other / "progress.csv", index=False)
    assert differences(run, other) == []


def write(folder, tag, value, step):
    with SummaryWriter(str(folder)) as writer:
        writer.add_scalar(tag, value, step)


def test_scalars_of_all_event_files_count(run, other):
    write(other, "train/actor_loss", 0.5, 400)
    found = differences(run, other)
    assert "TensorBoard: train/actor_loss has step 400 twice" in found
    assert any("train/actor_loss from its value" in one for one in found)


def test_a_scalar_too_many_is_a_difference(run, other):
    write(other, "train/actor_loss", 0.5, 500)
    (found,) = differences(run, other)
    assert found.startswith("TensorBoard: train/actor_loss from its value")


def test_a_clock_in_another_event_file_is_no_difference(run, other):
    write(other, "time/fps", 0.5, 500)
    assert differences(run, other) == []


def test_event_files_that_are_cut_are_a_difference(run, other):
    (events,) = other.glob("events.out.tfevents.*")
    os.truncate(events, events.stat().st_size - 20)
    assert differences(run, other)
    events.unlink()
    assert any("TensorBoard" in one for one in differences(run, other))
