"""The summary in plain words."""

from typing import Any

from pandas import DataFrame, isna

from stac_bench.report.aligned import Aligned
from stac_bench.report.folder import UNFINISHED

# A difference worth finding, as a share of the baseline's mean return.
SHARE = 0.1
# A kill leaves no word behind.
_STATUS = {status: status for status in UNFINISHED} | {"running": "running, or killed,"}


def choice(names: list[str], plain: list[str]) -> list[str]:
    """What the runs `names` are compared to where no baseline was named; `plain` could be one."""
    if len(names) == 1:
        return [f"There is one kind of run, {names[0]}: nothing is compared."]
    if len(plain) == 1:
        return [
            f"Others are compared to {plain[0]}, the only one with a plain algorithm; --baseline "
            "NAME takes another."
        ]
    why = f"{', '.join(plain)} could each be the baseline" if plain else "no algorithm is plain"
    return [f"Nothing is compared, as {why}: --baseline NAME takes one of {', '.join(names)}."]


def unfinished(runs: DataFrame) -> list[str]:
    """Which runs have not reached their end, and whether they count."""
    lines = []
    for compared, rows in runs[runs["status"].isin(UNFINISHED)].groupby("compared"):
        which = ", ".join(
            f"{row.run} on {row.env} with seed {row.seed} ({_STATUS[str(row.status)]} at step "
            f"{row.steps:,})"
            for row in rows.itertuples()
        )
        end = "but compared" if compared else "left out (--unfinished takes what was evaluated)"
        lines.append(f"Not finished, {end}: {which}.")
    return lines


def about(per_env: DataFrame, every: list[Aligned], baseline: str | None) -> list[str]:
    """A sentence per comparison, and one per thing that a reader must know to trust it."""
    lines = [line for one in every for line in _steps(one)]
    rows: list[dict[Any, Any]] = per_env.to_dict("records")
    if baseline is None:
        return lines
    tests = sum(not isna(row["p"]) for row in rows)
    for one in every:
        if baseline not in one.curves:
            lines.append(f"{one.env}: {baseline} has no run there: nothing is compared.")
    lines += [
        _compared(row, baseline, tests)
        for row in rows
        if row["run"] != baseline and not isna(row["pairs"])
    ]
    return lines


def _steps(one: Aligned) -> list[str]:
    lines = []
    if one.first != one.last:
        lines.append(
            f"{one.env}: runs are of unequal length, from {one.first:,} to {one.last:,} steps; "
            f"they are compared up to step {one.first:,}, and what came later is left out."
        )
    if one.binned:
        lines.append(
            f"{one.env}: runs were not evaluated at the same steps; they are compared by their "
            f"means within {len(one.steps)} equal spans of steps."
        )
    return lines


def _compared(row: dict[Any, Any], baseline: str, tests: int) -> str:
    """One comparison; `tests` is for how many the p value was corrected."""
    run, pairs, difference = row["run"], int(row["pairs"]), row["difference"]
    if pairs == 0:
        return f"{row['env']}: {run} and {baseline} share no seed: nothing is paired."
    side = "below" if difference < 0 else "above"
    ends = f"{row['env']}: {run} ends {number(abs(difference))} {side} {baseline}"
    if pairs == 1:
        return f"{ends} (one seed: no interval, since one says nothing about chance)."
    low, high = row["difference_low"], row["difference_high"]
    if isna(low):
        return f"{ends} ({pairs} seeds, all by the same amount: no interval)."
    span = f"95 % interval {number(low)} to {number(high)}, {pairs} seeds"
    corrected = f", corrected for {tests} comparisons" if tests > 1 else ""
    p = f"p = {row['p']:.2g}{corrected}"
    power = (
        f"the smallest difference that {pairs} such seeds would show with 80 % power is "
        f"{number(row['mde'])}"
    )
    if row["seeds_needed"] > pairs:
        power += (
            f"; {row['seeds_needed']:,.0f} seeds would show one of {SHARE:.0%} of {baseline}'s mean"
        ).replace("%", " %")
    if low <= 0 <= high:
        verdict = f"any difference within that interval fits these runs, none too; {power}"
    elif row["p"] > 0.05:
        verdict = f"alone it would pass for a difference, but not among {tests} ({p}); {power}"
    else:
        verdict = f"chance alone would seldom give so much ({p}); {power}"
    return f"{ends} ({span}): {verdict}."


def number(value: float) -> str:
    """Whole above 100, else three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
