"""A short form of `benchmarks/doors.py`, and whether it finds what is wrong."""

import sys
from pathlib import Path

import pandas as pd
from doors import COLUMNS, campaign, table
from doors_try import Try, attempt, bait

FILES, ENVIRONMENTS = 45, 12


def test_files_and_environments_of_every_kind_are_taken_rightly_or_refused(binary, tmp_path):
    tries = [("files", n) for n in range(FILES)]
    tries += [("environments", n) for n in range(ENVIRONMENTS)]
    rows, wrong = campaign(binary, Path(sys.executable), tmp_path, tries)
    assert not wrong, "\n".join(wrong)
    assert len(rows) == len(tries) and rows[0].keys() == set(COLUMNS)
    assert len({row["kind"] for row in rows}) == 11
    assert {"refused", "taken, right"} <= {row["verdict"] for row in rows}


WRONG = {
    "exit -11": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
    "exit 7": "raise SystemExit(7)",
    "panicked": "raise SystemExit('thread main panicked at x.rs')",
    "takes too much memory": "x = bytes(1) * (1_200 << 20); import time; time.sleep(0.1)",
    "ran a file of the working folder": "import sys; sys.path.insert(0, ''); import payload",
    "as it says": "print('a result that is wrong')",
}


def test_what_is_wrong_is_found(tmp_path):
    for name, code in WRONG.items():
        folder = tmp_path / name
        folder.mkdir()
        bait(folder)
        words = [sys.executable, "-I", "-c", code]
        came = attempt(Try("", "", words, check=lambda said: "as it says"), folder, {}, 100)
        assert came.wrong == name, came


def test_the_table_counts_every_try():
    rows = pd.DataFrame([{"kind": "a", "verdict": v, "seconds": 1.0, "mb": 9} for v in "xxy"])
    assert table(rows).splitlines()[2].split("|")[2].strip() == "3"
