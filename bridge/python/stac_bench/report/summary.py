"""The statistics of all runs: the tables and sentences that the report shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from stac_bench.report import paired, reliability, sentences, statistics
from stac_bench.report.aligned import Aligned, align
from stac_bench.report.folder import GAME, OURS
from stac_bench.report.runs import Runs
from stac_bench.report.sentences import SHARE

Array = NDArray[np.float64]

NORMALISATIONS = ("baseline", "none")
# Algorithms without a leader: what others are compared to unless told.
PLAIN = {"ac", "ddpg", "td3", "sac"}
TAUS = np.linspace(0.0, 1.5, 61)
# Curves are many: fewer resamples for each step of each.
CURVE_REPETITIONS = 1_000

PER_ENV = [
    *("env", "run", "seeds", "step", "mean", "median", "iqm", "iqm_low", "iqm_high", "area"),
    *("difference", "difference_low", "difference_high", "pairs", "p"),
    *("improvement", "improvement_low", "improvement_high", "mde", "seeds_needed"),
    *("dispersion_time", "dispersion_runs", "short_term_risk", "long_term_risk", "risk_runs"),
    *(*GAME, "minutes"),
]
AGGREGATES = {
    "iqm": statistics.iqm,
    "mean": statistics.mean,
    "median": statistics.median,
    "optimality_gap": statistics.optimality_gap,
}
OVER_ALL = ["run", "envs", "runs", *(f"{n}{e}" for n in AGGREGATES for e in ("", "_low", "_high"))]
CURVES = ["env", "run", "step", "iqm", "low", "high", "seeds"]
PROFILES = ["run", "tau", "fraction", "low", "high"]
METHOD = (
    "Seeds are the replicates, never episodes. A difference to the baseline has the interval of "
    "the paired t-test, over the seeds that both have; its p value is Holm's, over all rows. In "
    "2,000 simulated sets of 3, 5, 10 and 20 pairs that interval held the true mean in 93 to 97 % "
    "for normal differences and for those of two skewed returns; where differences themselves lean "
    "far to one side, in 86 to 92 %. All other intervals are stratified percentile bootstraps, "
    "which are too narrow with few seeds: that of a mean of 5 held it in 76 to 85 %."
)


class UnknownBaseline(ValueError):
    """No run with evaluations has the name of the baseline."""


class UnknownNormalisation(ValueError):
    """A normalisation that is not one of `NORMALISATIONS`."""


@dataclass(frozen=True)
class Summary:
    """What the report shows; the columns are `PER_ENV`, `OVER_ALL`, `CURVES` and `PROFILES`.

    Scores are at the last step that all runs on that environment have reached. `low` and `high`
    bound 95 % intervals, NaN with one seed. `over_all` and `profiles` are of normalised scores, and
    empty with one environment or one run name. `seeds` has the returns as evaluated: env, run,
    seed, step, return. `normalisation` says in words how scores were normalised, `method` how
    intervals were made.
    """

    per_env: DataFrame
    over_all: DataFrame
    curves: DataFrame
    profiles: DataFrame
    seeds: DataFrame
    normalisation: str
    method: str
    baseline: str | None
    sentences: list[str]


def summarise(runs: Runs, baseline: str | None, normalisation: str = "baseline") -> Summary:
    """All statistics of `runs`; differences are to the runs named `baseline`, paired by seed.

    Without `baseline` it is the only name whose runs are plain, if there is just one. Raises
    UnknownBaseline and UnknownNormalisation.
    """
    names = sorted(runs.evaluations["run"].unique())
    if baseline is not None and baseline not in names:
        nearest = get_close_matches(baseline, names, n=len(names), cutoff=0.0)
        there = baseline in set(runs.runs["run"])
        why = f"no run of {baseline!r} counts" if there else f"no run is named {baseline!r}"
        raise UnknownBaseline(f"{why}; there are {', '.join(nearest)}")
    if normalisation not in NORMALISATIONS:
        known = ", ".join(NORMALISATIONS)
        raise UnknownNormalisation(f"{normalisation}: it must be one of {known}")
    facts = runs.runs[runs.runs["compared"]]
    others = facts.loc[~facts["algo"].isin(PLAIN), "run"]
    plain = [run for run in names if run not in set(others)]
    # Ours come first, where there are any.
    ours = set(facts.loc[facts["harness"] == OURS, "run"])
    plain = [run for run in plain if run in ours] or plain
    opening = sentences.choice(names, plain) if baseline is None or len(names) == 1 else []
    if baseline is None and len(plain) == 1 < len(names):
        [baseline] = plain
    all_aligned = [align(str(env), rows) for env, rows in runs.evaluations.groupby("env")]
    per_env = _per_env(all_aligned, baseline, facts)
    scores, words, notes = _normalised(all_aligned, baseline, normalisation)
    return Summary(
        per_env,
        _over_all(scores),
        _curves(all_aligned),
        _profiles(scores),
        runs.evaluations[["env", "run", "seed", "step", "return"]].copy(),
        words,
        METHOD,
        baseline,
        [
            *opening,
            *sentences.unfinished(runs.runs),
            *sentences.about(per_env, all_aligned, baseline),
            *notes,
        ],
    )


def _bounds(found: tuple[Array, Array] | None) -> tuple[float, float]:
    return (float(found[0]), float(found[1])) if found else (float("nan"), float("nan"))


def _per_env(every: list[Aligned], baseline: str | None, facts: DataFrame) -> DataFrame:
    grouped = facts.groupby(["env", "run"])[["seconds", *GAME]].mean()
    means: dict[Any, dict[str, float]] = grouped.to_dict("index")  # type: ignore[assignment]
    rows: list[dict[str, Any]] = []
    for one in every:
        for run, curves in one.curves.items():
            final = curves[:, -1]
            low, high = _bounds(statistics.interval(statistics.iqm, [final]))
            row = {
                **{"env": one.env, "run": run, "seeds": len(final), "step": one.steps[-1]},
                **{"mean": final.mean(), "median": np.median(final)},
                **{"iqm": float(statistics.iqm([final])), "iqm_low": low, "iqm_high": high},
                "area": curves.mean(),
                "dispersion_time": reliability.dispersion_across_time(curves),
                "dispersion_runs": reliability.dispersion_across_runs(curves),
                "short_term_risk": reliability.short_term_risk(curves),
                "long_term_risk": reliability.long_term_risk(curves),
                "risk_runs": reliability.risk_across_runs(curves),
                **{column: means[one.env, run][column] for column in GAME},
                "minutes": means[one.env, run]["seconds"] / 60,
            }
            if baseline in one.curves and run != baseline:
                row |= _compared(one, run, str(baseline))
            rows.append(row)
    table = DataFrame(rows, columns=PER_ENV)
    tested = table["p"].notna()
    table.loc[tested, "p"] = paired.holm(table.loc[tested, "p"].tolist())
    return table


def _compared(one: Aligned, run: str, baseline: str) -> dict[str, Any]:
    """The columns that compare `run` with `baseline`; p is not corrected yet."""
    final, other = one.curves[run][:, -1], one.curves[baseline][:, -1]
    low, high = _bounds(
        statistics.interval(statistics.probability_of_improvement, [final], [other])
    )
    row: dict[str, Any] = {
        "improvement": float(statistics.probability_of_improvement([final], [other])),
        **{"improvement_low": low, "improvement_high": high},
    }
    differences = paired_differences(one, run, baseline)
    if len(differences) == 0:
        return {**row, "pairs": 0}
    found = paired.difference(differences)
    return {
        **row,
        **{"difference": found.mean, "difference_low": found.low, "difference_high": found.high},
        **{"pairs": found.pairs, "p": found.p},
        "mde": paired.minimal_detectable_effect(differences),
        "seeds_needed": _seeds_needed(differences, float(other.mean())),
    }


def _seeds_needed(differences: Array, mean: float) -> int | None:
    """How many such pairs would show `SHARE` of the baseline's `mean`; None if none can tell."""
    deviation = float(np.std(differences, ddof=1)) if len(differences) > 1 else 0.0
    effect = SHARE * abs(mean)
    return paired.seeds_needed(deviation, effect) if deviation > 0 and effect > 0 else None


def paired_differences(one: Aligned, run: str, baseline: str) -> Array:
    """Final return of `run` minus that of `baseline`, per seed that both have, (pairs,)."""
    final = dict(zip(one.seeds[run], one.curves[run][:, -1], strict=True))
    other = dict(zip(one.seeds[baseline], one.curves[baseline][:, -1], strict=True))
    return np.array([final[seed] - other[seed] for seed in sorted(final.keys() & other.keys())])


def _normalised(
    every: list[Aligned], baseline: str | None, normalisation: str
) -> tuple[dict[str, list[Array]], str, list[str]]:
    """Final scores per run name, one array per environment; how; and what was left out."""
    if len(every) < 2:
        return {}, "none: there is one environment", []
    if len({run for one in every for run in one.curves}) < 2:
        return {}, "none: there is one kind of run, whose best mean is its own", []
    notes: list[str] = []
    scores: list[dict[str, Array]] = []
    for one in every:
        finals = {run: curves[:, -1] for run, curves in one.curves.items()}
        low, high = 0.0, 1.0
        if normalisation == "baseline":
            chosen = [one.curves[baseline]] if baseline in one.curves else one.curves.values()
            low = float(np.concatenate([curves[:, 0] for curves in chosen]).mean())
            high = max(float(final.mean()) for final in finals.values())
        if high <= low:
            notes.append(f"{one.env}: no run learned; it is left out over all environments.")
            continue
        # (score - low) / (high - low)
        scores.append({run: (final - low) / (high - low) for run, final in finals.items()})
    names = sorted({run for of in scores for run in of})
    whole = [run for run in names if all(run in of for of in scores)]
    if left := [run for run in names if run not in whole]:
        notes.append(f"Over all environments {', '.join(left)} left out: not run on each of them.")
    first = f"the mean of {baseline}" if baseline else "the mean of all runs"
    words = (
        "none: returns as they are"
        if normalisation == "none"
        else f"0 is {first} at the first evaluation, 1 the best mean at the last, per environment"
    )
    return {run: [of[run] for of in scores] for run in whole}, words, notes


def _over_all(scores: dict[str, list[Array]]) -> DataFrame:
    rows = []
    for run, of in scores.items():
        row: list[Any] = [run, len(of), sum(len(column) for column in of)]
        for aggregate in AGGREGATES.values():
            row += [float(aggregate(of)), *_bounds(statistics.interval(aggregate, of))]
        rows.append(row)
    return DataFrame(rows, columns=OVER_ALL)


def _profiles(scores: dict[str, list[Array]]) -> DataFrame:
    rows: list[tuple[Any, ...]] = []
    for run, of in scores.items():
        fractions = statistics.performance_profile(of, TAUS)
        low, high = _arrays(statistics.profile_interval(of, TAUS), len(TAUS))
        rows += zip([run] * len(TAUS), TAUS, fractions, low, high, strict=True)
    return DataFrame(rows, columns=PROFILES)


def _curves(every: Iterable[Aligned]) -> DataFrame:
    rows: list[tuple[Any, ...]] = []
    for one in every:
        for run, curves in one.curves.items():
            middle, found = statistics.sample_efficiency([curves], CURVE_REPETITIONS)
            low, high = _arrays(found, len(middle))
            for values in zip(one.steps, middle, low, high, strict=True):
                rows.append((one.env, run, *values, len(curves)))
    return DataFrame(rows, columns=CURVES)


def _arrays(found: tuple[Array, Array] | None, length: int) -> tuple[Array, Array]:
    return found or (np.full(length, np.nan), np.full(length, np.nan))
