"""Honest statistics of run folders, of stac-bench and of RL Zoo, for notebooks:

    from stac_bench.report import compare, load

    load("runs")                            # a row per evaluation
    compare("runs", baseline="ddpg")        # a row per environment and run name

It needs what `pip install 'stac-bench[report]'` brings, but neither PyTorch nor the extension
module.
"""

from os import PathLike
from pathlib import Path


def needs(error: ModuleNotFoundError) -> str:
    """What is not there, and how it comes."""
    # Where this file lies in a checkout, there is its Makefile.
    checkout = (Path(__file__).resolve().parents[4] / "Makefile").is_file()
    how = "make report" if checkout else "pip install 'stac-bench[report]'"
    return f"a report needs {error.name}: {how}"


try:
    from pandas import DataFrame

    from stac_bench.report.runs import NoRuns, Runs, read
    from stac_bench.report.summary import (
        Summary,
        UnknownBaseline,
        UnknownNormalisation,
        summarise,
    )
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(needs(error), name=error.name) from error

__all__ = [
    "NoRuns",
    "Runs",
    "Summary",
    "UnknownBaseline",
    "UnknownNormalisation",
    "compare",
    "load",
    "read",
    "summarise",
]


def load(*folders: str | PathLike[str]) -> DataFrame:
    """All evaluations in `folders`: env, run, seed, harness, folder, step, return, returns.

    `return` is the mean over the episodes of one evaluation, `returns` their list. Runs that are
    not finished are there too. What is wrong with runs is in `read(folders).problems`. Raises
    NoRuns if there is nothing to read.
    """
    return read([Path(folder) for folder in folders], unfinished=True).evaluations


def compare(
    *folders: str | PathLike[str], baseline: str | None = None, unfinished: bool = False
) -> DataFrame:
    """A row per environment and run name: scores, intervals, differences to `baseline`, risks.

    Without `baseline` it is the only run name of a plain algorithm, if there is just one. Runs that
    are not finished are left out unless `unfinished`. The columns are those of `Summary.per_env`.
    Raises NoRuns and UnknownBaseline.
    """
    return summarise(read([Path(folder) for folder in folders], unfinished), baseline).per_env
