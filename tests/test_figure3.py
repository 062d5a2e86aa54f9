"""`benchmarks/figure3`: what is collected, how claims are judged, what the page says."""

import json

import numpy as np
import pandas as pd
import pytest
from answer import FIGURE, HERE, PAGE, correlation, difference, page, tuning
from answer import main as answer
from claims import (
    CONFIRMED,
    NOT_RUN,
    NOT_SHOWN,
    REFUTED,
    Book,
    Claim,
    Comparison,
    Part,
    claims,
    primary,
)
from collect import collect, restore
from conftest import ROOT
from panels import DDPG, Panel, gains, load
from run_folders import ours
from scipy import stats
from stac_bench.report import paired
from stac_bench.report.paired import Difference

DATA = HERE / "data"


def test_the_page_is_what_the_data_give():
    assert PAGE.read_text() == page(DATA), "run `make results`"


def test_the_figure_is_drawn_from_whatever_there_is(tmp_path):
    figure, text = tmp_path / "figure.png", tmp_path / "page.md"
    given = ["--data", str(tmp_path), "--page", str(text), "--figure", str(figure)]
    assert answer(given) == 0
    assert figure.read_bytes().startswith(b"\x89PNG") and FIGURE.is_file()
    assert "Not run yet." in text.read_text()


# Grids of the plan that wait for a setting that is not there yet.
COMING, SETTINGS = ["lam_unit", "noise_match"], (ROOT / "docs" / "settings.md").read_text()
GRIDS = [
    path.name
    for path in sorted((HERE / "grids").glob("*.yml"))
    if not any(key in path.read_text() and key not in SETTINGS for key in COMING)
]


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_is_one_that_a_sweep_takes(name, stac_bench, tmp_path):
    found = stac_bench(tmp_path, "sweep", HERE / "grids" / name, "--status", "--out", tmp_path)
    assert found.returncode == 0, found.stderr
    assert name in (HERE / "plan.md").read_text()


# Collecting.


def runs(folder, label="ddpg", seed=0, **changes):
    """A run folder of the grid `ddpg`, below `folder`."""
    return ours(folder / "ddpg" / label, seed, **changes)


def test_a_run_is_collected_once_and_its_settings_are_never_mixed(tmp_path):
    run = runs(tmp_path / "runs")
    data = tmp_path / "data"
    assert list(collect(tmp_path / "runs", data)) == ["ddpg-Hopper-v4: 1 new, 1 in all"]
    assert list(collect(tmp_path / "runs", data)) == []
    runs(tmp_path / "runs", seed=1)
    assert list(collect(tmp_path / "runs", data)) == ["ddpg-Hopper-v4: 1 new, 2 in all"]
    (run / "config.yml").write_text("batch_size: 17\n")
    with pytest.raises(SystemExit, match=r"Hopper-v4_0: .*other settings"):
        list(collect(tmp_path / "runs", data))


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_a_run_that_has_not_come_to_its_end_is_not_collected(tmp_path, status):
    runs(tmp_path / "runs", status=status)
    assert list(collect(tmp_path / "runs", tmp_path / "data")) == []


def test_what_is_collected_is_what_the_run_wrote(tmp_path):
    run = runs(tmp_path / "runs", seed=3)
    (run / "0.monitor.csv").write_text(
        '#{"env_id": "Hopper-v4"}\nr,l,t\n1.0,50,1\n2.0,50,2\n5.0,150,3\n'
    )
    list(collect(tmp_path / "runs", tmp_path / "data"))
    [row] = pd.read_parquet(tmp_path / "data" / "ddpg-Hopper-v4.parquet").to_dict("records")
    assert (row["run"], row["algo"], row["seed"], row["status"]) == ("ddpg", "ddpg", 3, "done")
    assert (row["steps"], row["seconds"]) == (300, 60.0)
    assert row["step"].tolist() == [100, 200, 300]
    assert row["evaluation"].tolist() == [104.0, 204.0, 304.0]
    # Episodes end at steps 50, 100 and 250.
    np.testing.assert_equal(row["training"], np.array([1.5, np.nan, 5.0], np.float32))
    # 30 parts of 10 steps, rows at 100, 200 and 300.
    known = np.flatnonzero(~np.isnan(row["game/cosine"]))
    assert known.tolist() == [9, 19, 29] and set(row["game/cosine"][known]) == {0.5}


def test_what_the_data_hold_is_done_for_a_sweep(stac_bench, tmp_path):
    content = {"name": "small", "envs": ["CartPole-v1"], "seeds": 2, "steps": 200}
    content |= {"options": ["--eval-freq", "100"], "runs": {"m = 1": {"algo": "ac"}}}
    grid = tmp_path / "grid.yml"
    grid.write_text(json.dumps(content))
    assert stac_bench(tmp_path, "sweep", grid, "--jobs", 1).returncode == 0
    list(collect(tmp_path / "runs", tmp_path / "data"))
    elsewhere = tmp_path / "elsewhere"
    assert restore(elsewhere, tmp_path / "data") == 2
    status = stac_bench(tmp_path, "sweep", grid, "--status", "--out", elsewhere).stdout
    assert status.splitlines()[0].split()[-1] == "done" and status.split()[-1] == "2"
    grid.write_text(json.dumps(content | {"options": ["--eval-freq", "50"]}))
    other = stac_bench(tmp_path, "sweep", grid, "--out", elsewhere)
    assert other.returncode == 2 and "eval_freq" in other.stderr


# Scores.


def panel(**scores):
    """Panel (g) with runs by label: one score per seed, or a list of points."""
    rows = [
        {
            **{"run": run, "seed": seed, "algo": "ddpg", "env": "Hopper-v4", "status": "done"},
            **{"steps": 300, "seconds": 60.0, "step": [100, 200, 300]},
            "evaluation": [value] * 3,
        }
        for run, values in scores.items()
        for seed, value in enumerate(values)
    ]
    return Panel("g", DDPG, "Hopper-v4", pd.DataFrame(rows))


def test_a_gain_is_paired_by_seed_and_in_units_of_the_baseline():
    one = panel(on=[12.0, 11.0, 13.0, 99.0], off=[10.0, 10.0, 10.0])
    found = gains(one.scores("on"), one.scores("off"))
    np.testing.assert_allclose(found, [0.2, 0.1, 0.3])
    losing = panel(on=[-8.0, -9.0, -10.0], off=[-10.0, -10.0, -10.0])
    np.testing.assert_allclose(gains(losing.scores("on"), losing.scores("off")), [0.2, 0.1, 0.0])


def test_two_pairs_are_no_comparison():
    one = panel(on=[1.0, 2.0], off=[1.0, 3.0])
    assert len(gains(one.scores("on"), one.scores("off"))) == 0


def test_a_run_that_diverged_keeps_its_last_return_to_the_end():
    one = panel(off=[10.0])
    failed = one.runs.iloc[0].to_dict() | {"status": "failed", "step": [100], "evaluation": [4.0]}
    failed["config.yml"] = "eval_freq: 100\nn_timesteps: 300\n"
    points = Panel("g", DDPG, "Hopper-v4", pd.DataFrame([failed])).points
    assert points[["step", "return"]].to_numpy().tolist() == [[100, 4], [200, 4], [300, 4]]


# Judging.


def found(low, high):
    return Difference((low + high) / 2, 10, low, high, 0.5)


@pytest.mark.parametrize(
    "says, low, high, p, verdict",
    [
        ("above", 0.01, 0.4, 0.01, CONFIRMED),
        ("above", 0.01, 0.4, 0.06, NOT_SHOWN),  # not among so many
        ("above", 0.01, 0.05, 0.01, CONFIRMED),  # certain and small
        ("above", -0.2, 0.09, 0.5, REFUTED),
        ("above", -0.2, 0.11, 0.5, NOT_SHOWN),
        ("above", -0.4, -0.1, 0.01, REFUTED),
        ("as good", -0.09, 0.3, 0.5, CONFIRMED),
        ("as good", -0.11, 0.3, 0.5, NOT_SHOWN),
        ("as good", -0.4, -0.11, 0.01, REFUTED),
        ("as good", -0.4, -0.11, 0.2, NOT_SHOWN),
        ("as fast", -0.1, 0.09, None, CONFIRMED),
        ("as fast", 0.05, 0.2, None, NOT_SHOWN),
        ("as fast", 0.11, 0.2, None, REFUTED),
    ],
)
def test_a_comparison_is_judged_as_the_plan_says(says, low, high, p, verdict):
    assert Part(says, Comparison("", "", found(low, high), p)).verdict == verdict


PARTS = {
    CONFIRMED: Part("above", Comparison("", "", found(0.2, 0.4), 0.001)),
    NOT_SHOWN: Part("above", Comparison("", "", found(-0.2, 0.4), 1.0)),
    REFUTED: Part("above", Comparison("", "", found(-0.2, 0.0), 1.0)),
    NOT_RUN: Part("above", Comparison("", "", None)),
}


@pytest.mark.parametrize(
    "parts, holds, verdict",
    [
        ([CONFIRMED, CONFIRMED], "in each", CONFIRMED),
        ([CONFIRMED, NOT_SHOWN], "in each", NOT_SHOWN),
        ([CONFIRMED, REFUTED], "in each", REFUTED),
        ([CONFIRMED, NOT_RUN], "in each", NOT_RUN),
        ([NOT_RUN, REFUTED], "in each", REFUTED),
        ([CONFIRMED, REFUTED], "in half", CONFIRMED),
        ([NOT_RUN, CONFIRMED], "in half", CONFIRMED),
        ([REFUTED, REFUTED, CONFIRMED], "in half", REFUTED),
        ([NOT_SHOWN, REFUTED, NOT_RUN], "in half", NOT_RUN),
        ([NOT_SHOWN, REFUTED, NOT_SHOWN], "in half", NOT_SHOWN),
    ],
)
def test_a_claim_is_judged_from_its_parts_as_the_plan_says(parts, holds, verdict):
    assert Claim("", "", [PARTS[part] for part in parts], holds).verdict == verdict


def test_p_values_are_corrected_once_for_every_comparison_that_is_made():
    random = np.random.default_rng(0)
    names = ["ddpg-simultaneous", "stddpg-al", "stddpg-cl", "ddpg"]
    one = panel(**{name: random.normal(100, 10, 10) for name in names})
    panels = [one if other.letter == "g" else other for other in load(ROOT / "no-such-folder")]
    book = Book(panels)
    claims(book)
    book.correct()
    tested = [comparison for comparison in book.made.values() if comparison.p is not None]
    assert len(tested) == 3  # form against baseline twice, and the two forms
    corrected = paired.holm([comparison.found.p for comparison in tested])
    assert [comparison.p for comparison in tested] == corrected
    off, on = one.scores("ddpg-simultaneous"), one.scores("stddpg-al")
    assert min(comparison.found.p for comparison in tested) <= stats.ttest_rel(on, off).pvalue


def test_the_primary_contrast_is_of_the_rows_of_panels_that_are_complete():
    random = np.random.default_rng(1)
    panels = load(ROOT / "no-such-folder")
    assert primary(panels) == (None, [], False)

    def some(letter, seeds):
        runs = {name: random.normal(100, 10, seeds) for name in ("ddpg-simultaneous", "stddpg-al")}
        return Panel(letter, DDPG, "Hopper-v4", panel(**runs).runs)

    found, of, whole = primary([some("e", 10), some("f", 10), some("g", 9), some("h", 10)])
    assert not whole and len(of) == 4
    four = [some(letter, 10) for letter in "efgh"]
    found, of, whole = primary([*four, *panels[8:]])
    assert whole and [one.letter for one in of] == list("efgh")
    means = [gains(one.scores("stddpg-al"), one.scores("ddpg-simultaneous")).mean() for one in four]
    assert found.mean == pytest.approx(np.mean(means)) and found.pairs == 40


# The sum of means that pools panels.


def test_one_sample_is_the_paired_t_test_and_two_are_welchs():
    random = np.random.default_rng(2)
    a, b = random.normal(1, 1, 7), random.normal(0, 3, 12)
    alone, same = paired.combined([a], [1]), paired.difference(a)
    assert (alone.low, alone.high, alone.p) == pytest.approx((same.low, same.high, same.p))
    welch = stats.ttest_ind(a, b, equal_var=False)
    both = paired.combined([a, b], [1, -1])
    assert both.p == pytest.approx(welch.pvalue)
    assert (both.low, both.high) == pytest.approx(welch.confidence_interval(0.95))


def test_the_pooled_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(3)
    sizes, spreads, sets = [10] * 4 + [5] * 8, random.uniform(0.1, 1.0, 12), 2_000
    held = 0
    for _ in range(sets):
        # Skewed differences, of mean 0.
        samples = [s * (random.gamma(4, 1, n) - 4) for s, n in zip(spreads, sizes, strict=True)]
        pooled = paired.combined(samples, [1 / 12] * 12)
        held += pooled.low <= 0 <= pooled.high
    assert 0.93 < held / sets < 0.97


@pytest.mark.parametrize("samples", [[], [np.array([1.0])]])
def test_a_sample_of_one_is_refused(samples):
    with pytest.raises(ValueError, match="less than two"):
        paired.combined(samples, [1.0] * len(samples))


# Tuning.


def test_tuning_is_scored_in_units_of_the_default_and_pairs_are_correlated(tmp_path):
    means = {
        "off-actor=1-batch=100": 100,
        "on-actor=1-batch=100": 50,
        "off-actor=0.3-batch=100": 150,
    }
    for env, factor in (("HalfCheetah-v4", 1), ("Hopper-v4", 2)):
        rows = [
            {"run": run, "seed": seed, "evaluation": [factor * (mean + shift)]}
            for run, mean in means.items()
            for seed, shift in ((1000, -1.0), (1001, 1.0))
        ]
        pd.DataFrame(rows).to_parquet(tmp_path / f"tuning-{env}.parquet")
    found = {run: cells[-2:] for run, *cells in tuning(tmp_path)}
    assert found == {
        "off-actor=1-batch=100": ["1.00", 2],
        "on-actor=1-batch=100": ["1.00", 2],
        "off-actor=0.3-batch=100": ["1.50", 2],
    }
    assert correlation(tmp_path) == "1.00"


def test_a_difference_is_written_in_percent_with_its_interval():
    assert difference(None) == "not run yet"
    assert difference(found(-0.1, 0.3), 0.04) == "+10 [\N{MINUS SIGN}10, 30], p = 0.04"
