"""What is compared to what, at which steps, and what is said of it."""

import numpy as np
import pytest
from run_folders import ENV, ours
from stac_bench import report
from stac_bench.report import paired


def summary(folder, baseline=None, unfinished=False):
    return report.summarise(report.read([folder], unfinished), baseline)


def said(folder, *arguments, **options):
    return "\n".join(summary(folder, *arguments, **options).sentences)


def grid(folder, **algos):
    """Three seeds of each label; the labels' returns differ by 20 times the seed."""
    for i, (label, algo) in enumerate(algos.items()):
        for seed in range(3):
            ours(folder / label, seed, algo=algo, add=20.0 * i * seed)


@pytest.mark.parametrize("algo", ["ac", "ddpg", "td3", "sac"])
def test_the_only_plain_algorithm_is_the_baseline_and_it_is_said(tmp_path, algo):
    grid(tmp_path, one="stddpg-al", plain=algo, two="stsac-cl")
    found = summary(tmp_path)
    assert found.baseline == "plain"
    assert "compared to plain, the only one with a plain algorithm" in found.sentences[0]
    assert found.per_env.set_index("run")["pairs"].dropna().to_dict() == {"one": 3, "two": 3}


@pytest.mark.parametrize(
    "labels, why",
    [
        ({"a": "ddpg", "b": "ddpg", "c": "stddpg-al"}, "a, b could each be the baseline"),
        ({"a": "stsac-al", "b": "stddpg-al"}, "no algorithm is plain"),
    ],
)
def test_without_one_sensible_baseline_nothing_is_compared_and_it_says_how(tmp_path, labels, why):
    grid(tmp_path, **labels)
    found = summary(tmp_path)
    assert found.baseline is None
    assert found.per_env["pairs"].isna().all()
    assert why in found.sentences[0]
    assert f"--baseline NAME takes one of {', '.join(labels)}" in found.sentences[0]
    assert summary(tmp_path, "a").baseline == "a"


def test_a_label_of_several_algorithms_is_plain_only_if_all_are(tmp_path):
    grid(tmp_path, a="ddpg", b="stddpg-al")
    ours(tmp_path / "a", 0, env="Ant-v4", algo="stsac-al")
    assert summary(tmp_path).baseline is None


@pytest.mark.parametrize("baseline", [None, "only"])
def test_one_kind_of_run_is_compared_to_nothing(tmp_path, baseline):
    grid(tmp_path, only="ddpg")
    assert "one kind of run, only: nothing is compared" in said(tmp_path, baseline)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_an_unfinished_run_is_named_and_left_out_unless_asked_for(tmp_path, status):
    grid(tmp_path, base="ddpg", lead="stddpg-al")
    ours(tmp_path / "lead", 3, algo="stddpg-al", steps=(100, 200), status=status)
    found = summary(tmp_path)
    line = next(line for line in found.sentences if "Not finished" in line)
    assert "left out" in line and "--unfinished" in line
    assert f"lead on {ENV} with seed 3 ({status}" in line and "at step 200)" in line
    assert found.per_env["seeds"].tolist() == [3, 3] and set(found.per_env["step"]) == {300}
    assert "unequal" not in "\n".join(found.sentences)

    found = summary(tmp_path, unfinished=True)
    line = next(line for line in found.sentences if "Not finished" in line)
    assert "Not finished, but compared" in line and "with seed 3" in line
    assert found.per_env["seeds"].tolist() == [3, 4] and set(found.per_env["step"]) == {200}
    assert "compared up to step 200" in "\n".join(found.sentences)


def test_unfinished_runs_do_not_count_in_means_of_time(tmp_path):
    grid(tmp_path, base="ddpg", lead="stddpg-al")
    run = ours(tmp_path / "lead", 3, algo="stddpg-al", status="interrupted")
    manifest = run / "manifest.json"
    manifest.write_text(manifest.read_text().replace("60.0", "6000.0"))
    assert set(summary(tmp_path).per_env["minutes"]) == {1.0}


def test_a_baseline_of_unfinished_runs_alone_is_not_called_unknown(tmp_path):
    grid(tmp_path, lead="stddpg-al")
    ours(tmp_path / "base", status="interrupted")
    with pytest.raises(report.UnknownBaseline, match="no run of 'base' counts; there are lead"):
        summary(tmp_path, "base")
    assert summary(tmp_path, "base", unfinished=True).baseline == "base"


def test_with_nothing_but_unfinished_runs_it_is_said_how_to_take_them(tmp_path):
    ours(tmp_path, status="running")
    with pytest.raises(report.NoRuns, match=r"no finished run .* --unfinished"):
        summary(tmp_path)
    assert len(report.load(tmp_path)) == 3
    assert summary(tmp_path, unfinished=True).per_env["seeds"].tolist() == [1]


def test_a_failed_run_is_told_with_its_error(tmp_path):
    ours(tmp_path)
    manifest = ours(tmp_path, 1, status="failed") / "manifest.json"
    manifest.write_text(manifest.read_text().replace("null", '"the pole broke"'))
    assert "failed at step 300: the pole broke" in "\n".join(report.read([tmp_path]).problems)


def test_runs_evaluated_at_some_of_the_same_steps_are_compared_there(tmp_path):
    ours(tmp_path, steps=(100, 200, 300))
    ours(tmp_path, algo="stddpg-al", steps=(50, 100, 200, 300), add=7)
    found = summary(tmp_path)
    assert sorted(set(found.curves["step"])) == [100, 200, 300]
    assert "same steps" not in "\n".join(found.sentences)
    assert found.per_env.set_index("run").loc["stddpg-al", "difference"] == 7


def test_runs_evaluated_at_other_steps_are_compared_by_means_of_spans(tmp_path):
    # Returns are the step plus one. The first has three evaluations: spans end at 100, 200, 300.
    ours(tmp_path, steps=(100, 200, 300))
    ours(tmp_path, algo="stddpg-al", steps=(30, 90, 150, 210, 270, 330))
    found = summary(tmp_path)
    curves = found.curves.pivot(index="step", columns="run", values="iqm")
    assert curves.index.tolist() == [100, 200, 300]
    assert curves["ddpg"].tolist() == [101, 201, 301]
    # (30 + 90) / 2, 150, (210 + 270) / 2; what lies past step 300 is left out.
    assert curves["stddpg-al"].tolist() == [61, 151, 241]
    assert found.per_env.set_index("run").loc["stddpg-al", "difference"] == -60
    words = "\n".join(found.sentences)
    assert "means within 3 equal spans" in words and "up to step 300" in words


def test_an_empty_span_has_the_value_before_it(tmp_path):
    ours(tmp_path, steps=(10, 20, 300))
    ours(tmp_path, algo="stddpg-al", steps=(100, 200, 290, 300))
    ours(tmp_path, algo="sac", steps=(110, 210, 299))
    curves = summary(tmp_path, "ddpg").curves.pivot(index="step", columns="run", values="iqm")
    # The first has two evaluations up to step 299: two spans, the last of which it leaves empty.
    assert curves.index.tolist() == [150, 299]
    assert curves["ddpg"].tolist() == [(11 + 21) / 2] * 2
    assert curves["stddpg-al"].tolist() == [101, (201 + 291) / 2]
    assert curves["sac"].tolist() == [111, (211 + 300) / 2]


def test_an_environment_with_one_seed_has_no_interval_and_says_so_beside_others(tmp_path):
    grid(tmp_path, base="ddpg", lead="stddpg-al")
    for i, (label, algo) in enumerate([("base", "ddpg"), ("lead", "stddpg-al")]):
        ours(tmp_path / label, 0, env="Ant-v4", algo=algo, add=5.0 * i)
    found = summary(tmp_path)
    rows = found.per_env.set_index(["env", "run"])
    bounds = ["iqm_low", "iqm_high", "difference_low", "difference_high", "p", "mde"]
    assert rows.loc[("Ant-v4", "lead"), bounds].isna().all()
    assert rows.loc[(ENV, "lead"), bounds].notna().all()
    (line,) = [line for line in found.sentences if line.startswith("Ant-v4")]
    assert line.startswith("Ant-v4: lead ends 5 above base (one seed: no interval")


def test_the_seeds_that_would_show_a_tenth_of_the_baselines_mean_are_named(tmp_path):
    # Differences -300, 0 and 300 around 0: a deviation of 300, beside returns of 301, 302 and 303.
    for seed in range(3):
        ours(tmp_path, seed)
        ours(tmp_path, seed, algo="stddpg-al", add=300.0 * (seed - 1))
    found = summary(tmp_path)
    pairs = int(found.per_env.set_index("run").loc["stddpg-al", "seeds_needed"])
    effect, random = 30.2, np.random.default_rng(0)
    # By the normal distribution ((1.96 + 0.84) 300 / 30.2)^2 = 774; t asks for a few more.
    assert 774 <= pairs <= 778
    sets = random.normal(effect, 300, (4_000, pairs))
    t = sets.mean(axis=1) / sets.std(axis=1, ddof=1) * np.sqrt(pairs)
    assert np.mean(np.abs(t) > 1.963) == pytest.approx(0.8, abs=0.02)
    assert paired.power_of(effect, 300, pairs - 1) < 0.8 <= paired.power_of(effect, 300, pairs)
    assert f"{pairs} seeds would show one of 10 % of ddpg's mean" in "\n".join(found.sentences)


def test_seeds_that_are_enough_for_a_tenth_are_not_asked_for(tmp_path):
    # Differences -1, 0 and 1 beside returns of 300: a tenth is 30 deviations.
    for seed in range(3):
        ours(tmp_path, seed)
        ours(tmp_path, seed, algo="stddpg-al", add=1.0 * (seed - 1))
    assert "10 %" not in said(tmp_path)
