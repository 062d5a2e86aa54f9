"""The report's tables, and how it was made: what the page, Markdown and LaTeX have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from stac_bench.report.runs import Runs
    from stac_bench.report.summary import Summary

#: Heads of columns, where they are not the column's name.
_HEADS = {
    "env": "Environment",
    "mean": "Mean of the last",
    "median": "Median",
    "step": "At step",
    "iqm": "IQM",
    "area": "Mean of the curve",
    "pairs": "Pairs of seeds",
    "p": "p",
    "improvement": "Chance of improvement",
    "mde": "Smallest difference found",
    "seeds_needed": "Seeds for a tenth",
    "dispersion_time": "Dispersion over time",
    "dispersion_runs": "Dispersion over runs",
    "short_term_risk": "Risk, short term",
    "long_term_risk": "Risk, long term",
    "risk_runs": "Risk over runs",
    "norm_ratio": "Ratio of norms",
    "cpu": "CPU",
}
_RELIABILITY = [
    *("dispersion_time", "dispersion_runs"),
    *("short_term_risk", "long_term_risk", "risk_runs"),
]
_DIFFERENCE = ["pairs", "difference", "p", "improvement", "mde", "seeds_needed"]
_FOUND = (
    "The last columns: the smallest difference that so many seeds show with 80 % power, and how "
    "many seeds would show one of 10 % of the baseline's mean."
)
_RISKS = (
    "In units of the return. Dispersion: less is steadier. Risks: the worst changes from one "
    "evaluation to the next, the deepest falls below the best so far, and the worst seeds' ends."
)
#: Columns of whole numbers.
_COUNTS = {"seed", "seeds", "pairs", "step", "steps", "seeds_needed"}


@dataclass(frozen=True)
class Cell:
    """What a table shows at one place: words, or a number that may have an interval."""

    text: str
    number: float | None = None
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """Cells, with the words around them."""

    name: str
    title: str
    note: str
    heads: list[str]
    #: Whether a column holds numbers.
    numeric: list[bool]
    rows: list[list[Cell]]

    @property
    def is_empty(self) -> bool:
        """Whether it has no number to show."""
        return not (self.rows and any(self.numeric))


def tables(summary: Summary) -> list[Table]:
    """All tables, also those that the summary has no numbers for."""
    per_env = summary.per_env
    against = per_env.dropna(subset=["difference"]) if "difference" in per_env else per_env[:0]
    found = _FOUND if against["mde"].notna().any() else ""
    return [
        _table(
            *("over_all", "All environments together", summary.normalisation),
            *(summary.over_all, ["run"], ["iqm", "mean", "median", "optimality_gap"]),
        ),
        _table(
            *("returns", "Returns", ""),
            *(per_env, ["env", "run"], ["seeds", "step", "mean", "median", "iqm", "area"]),
        ),
        _table(
            *(
                "difference",
                f"Against {summary.baseline}",
                found,
            ),
            *(against, ["env", "run"], _DIFFERENCE),
        ),
        _table(
            *("reliability", "Reliability", _RISKS),
            *(per_env, ["env", "run"], _RELIABILITY),
        ),
        _table(
            *("game", "Game and time", "Means over seeds."),
            *(per_env, ["env", "run"], ["cosine", "norm_ratio", "saturation", "minutes"]),
        ),
    ]


def run_table(runs: Runs) -> Table:
    """A row for each run."""
    names = ["env", "run", "algo", "harness", "folder", "status", "compared", "commit", "engine"]
    rows = runs.runs.assign(compared=runs.runs["compared"].map({True: "yes", False: "no"}))
    return _table("runs", "Runs", "", rows, names, ["seed", "steps", "seconds"])


def provenance(runs: Runs) -> dict[str, list[str]]:
    """The commands, versions and machines of the runs: each once."""
    columns = {
        "Commands": "command",
        "Commits": "commit",
        "Versions": "versions",
        "Machines": "cpu",
        "Engines": "engine",
        "Harnesses": "harness",
    }
    found = {
        head: list(dict.fromkeys(filter(None, map(_text, runs.runs[name]))))
        for head, name in columns.items()
        if name in runs.runs
    }
    return {head: values for head, values in found.items() if values}


def _table(
    name: str, title: str, note: str, data: pd.DataFrame, words: list[str], numbers: list[str]
) -> Table:
    words = [column for column in words if column in data]
    # A column without a number says nothing.
    numbers = [column for column in numbers if column in data and data[column].notna().any()]
    rows = [
        [Cell(_text(row[column])) for column in words]
        + [_number_cell(row, column) for column in numbers]
        for row in data.to_dict("records")
    ]
    if any(cell.interval for row in rows for cell in row):
        note = f"In brackets: 95 % intervals. {note}".strip()
    heads = [_head(column) for column in (*words, *numbers)]
    numeric = [False] * len(words) + [True] * len(numbers)
    return Table(name, title, note, heads, numeric, rows)


def _head(column: str) -> str:
    return _HEADS.get(column, column.replace("_", " ").capitalize())


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def _number_cell(row: dict[Any, Any], column: str) -> Cell:
    value, low, high = (_finite(row.get(f"{column}{end}")) for end in ("", "_low", "_high"))
    if value is None:
        return Cell("\N{EN DASH}")
    if column in _COUNTS:
        return Cell(f"{value:,.0f}", value)
    if column == "p":
        return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", value)
    # The interval has as many decimals as its value, so that they are easy to compare.
    size = max(abs(end) for end in (value, low, high) if end is not None)
    decimals = 3 if size < 1 else 2 if size < 10 else 1 if size < 1000 else 0
    if 0 < size < 0.01:
        decimals = 2 - math.floor(math.log10(size))
    known = low is not None and high is not None
    interval = f"[{_number(low, decimals)}, {_number(high, decimals)}]" if known else ""
    return Cell(_number(value, decimals), value, interval)


def _number(value: float | None, decimals: int) -> str:
    return (
        "\N{EN DASH}" if value is None else f"{value:,.{decimals}f}".replace("-", "\N{MINUS SIGN}")
    )


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
