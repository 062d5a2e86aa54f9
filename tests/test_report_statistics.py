"""Statistics of the report: they equal those of rliable and what is worked out by hand."""

import json
import math
import re
from pathlib import Path

import interval_coverage
import numpy as np
import pytest
from scipy import stats
from stac_bench.report import paired, reliability, statistics

KNOWN = json.loads((Path(__file__).parent / "data" / "rliable_values.json").read_text())
X, Y = np.array(KNOWN["x"]), np.array(KNOWN["y"])
AGGREGATES = {
    "iqm": statistics.iqm,
    "mean": statistics.mean,
    "median": statistics.median,
    "optimality_gap": statistics.optimality_gap,
}


@pytest.mark.parametrize("name", AGGREGATES)
def test_point_estimates_equal_those_of_rliable(name):
    assert float(AGGREGATES[name](X)) == pytest.approx(KNOWN["points"][name], abs=1e-12)
    assert float(AGGREGATES[name](list(X.T))) == pytest.approx(KNOWN["points"][name], abs=1e-12)


def test_probability_of_improvement_and_profile_equal_those_of_rliable():
    improvement = statistics.probability_of_improvement(X, Y)
    assert float(improvement) == pytest.approx(KNOWN["improvement"], abs=1e-12)
    profile = statistics.performance_profile(X, np.array(KNOWN["taus"]))
    assert profile == pytest.approx(np.array(KNOWN["profile"]), abs=1e-12)


@pytest.mark.parametrize("name", AGGREGATES)
def test_intervals_agree_with_those_of_rliable(name):
    low, high = statistics.interval(AGGREGATES[name], X, repetitions=20_000)
    # Quantiles of 20,000 resamples: their error is about 1 % of the width.
    width = np.subtract(*KNOWN["intervals"][name][::-1])
    assert [low, high] == pytest.approx(KNOWN["intervals"][name], abs=0.05 * width)


def test_interval_of_improvement_agrees_with_that_of_rliable():
    bounds = statistics.interval(statistics.probability_of_improvement, X, Y, repetitions=5_000)
    assert list(bounds) == pytest.approx(KNOWN["improvement_interval"], abs=0.02)


def test_a_tie_counts_half_and_environments_may_have_different_numbers_of_seeds():
    x, y = [np.array([1.0, 2.0]), np.array([3.0])], [np.array([1.0]), np.array([4.0, 2.0])]
    # First (0.5 + 1) / 2, second (0 + 1) / 2.
    assert float(statistics.probability_of_improvement(x, y)) == pytest.approx((0.75 + 0.5) / 2)
    # First mean 1.5, second 3; of all three the middle: a quarter of three cuts none.
    assert float(statistics.mean(x)) == 2.25
    assert float(statistics.iqm(x)) == 2.0


def test_the_same_seed_gives_the_same_interval_and_one_run_gives_none():
    once, again = (statistics.interval(statistics.iqm, X, seed=4) for _ in range(2))
    assert once == again != statistics.interval(statistics.iqm, X, seed=5)
    assert statistics.interval(statistics.iqm, [np.array([1.0])]) is None
    with pytest.raises(ValueError, match="no run"):
        statistics.iqm([])


def test_sample_efficiency_is_the_iqm_at_each_step():
    curves = np.array([[0.0, 10], [1, 11], [2, 12], [103, 113]])
    middle, (low, high) = statistics.sample_efficiency([curves], repetitions=200)
    assert middle.tolist() == [1.5, 11.5]
    assert (low <= middle).all() and (middle <= high).all()


def test_paired_t_equals_its_closed_form():
    # Mean 2, s = 1, n = 3: the error is 1 / sqrt(3), and t(0.975, 2) = 4.302653.
    found = paired.difference(np.array([1.0, 2.0, 3.0]))
    assert (found.mean, found.pairs) == (2.0, 3)
    assert found.high == pytest.approx(2 + 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.low == pytest.approx(2 - 4.302653 / math.sqrt(3), abs=1e-5)
    assert found.p == pytest.approx(stats.ttest_1samp([1.0, 2.0, 3.0], 0).pvalue, abs=1e-12)


@pytest.mark.parametrize("differences, why", [([3.0], "one seed"), ([2.0, 2.0], "same amount")])
def test_without_spread_there_is_no_interval_and_it_says_so(differences, why):
    found = paired.difference(np.array(differences))
    assert (found.low, found.high, found.p) == (None, None, None)
    assert why in found.why
    assert paired.minimal_detectable_effect(np.array(differences)) is None


def test_detectable_effects_and_seeds_are_those_of_the_tables():
    # Cohen's tables: d = 0.5, power 0.8, two-sided 0.05: 34 pairs; d = 0.8: 15; d = 1: 10.
    assert [paired.seeds_needed(2.0, 2.0 * d) for d in (0.5, 0.8, 1.0)] == [34, 15, 10]
    assert paired.seeds_needed(1.0, 1e-6) is None
    differences = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    effect = paired.minimal_detectable_effect(differences)
    deviation = math.sqrt(2.5)
    assert paired.power_of(effect, deviation, 5) == pytest.approx(0.8, abs=1e-9)
    # G*Power: n = 5, power 0.8: d = 1.68.
    assert effect / deviation == pytest.approx(1.68, abs=0.01)
    assert paired.minimal_detectable_effect(differences[:2]) > 0


def test_power_is_what_simulation_gives():
    random = np.random.default_rng(0)
    p = stats.ttest_1samp(random.normal(1.0, 1.0, (20_000, 6)), 0, axis=1).pvalue
    assert paired.power_of(1.0, 1.0, 6) == pytest.approx(np.mean(p < 0.05), abs=0.012)


def test_the_table_of_seeds_in_the_docs_is_what_simulation_gives():
    docs = (Path(__file__).parents[1] / "docs" / "experiments.md").read_text()
    seeds, effects = (
        [float(cell) for cell in re.search(rf"\| {head} \| (.+) \|", docs)[1].split(" | ")]
        for head in ("seeds", "smallest difference")
    )
    random = np.random.default_rng(1)
    assert len(seeds) == len(effects) == 10
    for n, effect in zip(seeds, effects, strict=True):
        p = stats.ttest_1samp(random.normal(effect, 1, (10_000, int(n))), 0, axis=1).pvalue
        # The deviation of a share of 10,000 is 0.004; two digits of the effect move it by 0.01.
        assert np.mean(p < 0.05) == pytest.approx(0.8, abs=0.02), n


def test_holm_corrects_in_order():
    # 0.01 x 3, 0.02 x 2, and 0.03 x 1 no less than 0.04.
    assert paired.holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert paired.holm([0.9, 0.8]) == [1.0, 1.0]
    assert paired.holm([]) == []


@pytest.mark.parametrize("pairs", [3, 5, 20])
@pytest.mark.parametrize("distribution", ["normal", "gamma - gamma"])
def test_intervals_of_differences_hold_the_truth(distribution, pairs):
    # Of 200 sets 190 are expected, with a deviation of 3; percentiles of 3 pairs hold 148.
    share, _ = interval_coverage.coverage("paired t", distribution, pairs, 200)
    assert 0.90 <= share <= 0.995


def test_percentiles_would_fail_that_check():
    share, _ = interval_coverage.coverage("percentile bootstrap", "normal", 3, 200)
    assert share < 0.85


def test_dispersion_across_time_is_the_iqr_of_changes():
    # Changes 1, 3, 1, 3: IQR of (1, 3) is 3 - 1 halved: 2.5 - 1.5 = 1 in each window of two.
    assert reliability.dispersion_across_time(np.array([[0.0, 1, 4, 5, 8]]), 2) == 1.0
    # A straight line is steady however steep.
    assert reliability.dispersion_across_time(np.arange(10.0)[None]) == 0.0
    assert math.isnan(reliability.dispersion_across_time(np.array([[1.0, 2.0]])))


def test_dispersion_across_runs_is_the_iqr_of_seeds():
    # Quartiles of 0..4 are 1 and 3; of 0, 2, .., 8 they are 2 and 6: (2 + 4) / 2.
    curves = np.array([[i, 2 * i] for i in range(5)], dtype=float)
    assert reliability.dispersion_across_runs(curves) == 3.0
    assert math.isnan(reliability.dispersion_across_runs(curves[:1]))


def test_risks_are_means_of_the_worst():
    # Changes 5, -4, 3, -2: the worst half, up to the median of 0.5, is (-4 - 2) / 2.
    curve = np.array([[0.0, 5, 1, 4, 2]])
    assert reliability.short_term_risk(curve, 0.5) == -3.0
    # Drawdowns 0, 0, 4, 1, 3: those at or above their median, 1, are 4, 1 and 3.
    assert reliability.long_term_risk(curve, 0.5) == pytest.approx(8 / 3)
    # At 5 % only the very worst remains.
    assert reliability.short_term_risk(curve) == -4.0
    assert reliability.long_term_risk(curve) == 4.0
    # Finals 1, 2, 3, 4: the median is 2.5.
    assert reliability.risk_across_runs(np.array([[1.0], [2], [3], [4]]), 0.5) == 1.5
