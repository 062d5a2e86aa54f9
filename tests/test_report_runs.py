"""Run folders become tables, and what is wrong with them a line."""

import json

import pytest
from run_folders import ENV, ours
from stac_bench import report


def problems(*folders):
    return "\n".join(report.read(folders).problems)


def test_a_run_of_ours_is_read(tmp_path):
    ours(tmp_path / "label")
    found = report.read([tmp_path])
    assert found.problems == []
    assert found.evaluations["return"].tolist() == [101.0, 201.0, 301.0]
    assert found.evaluations["returns"][0] == [100.0, 102.0]
    row = found.runs.iloc[0]
    assert (row["run"], row["algo"], row["status"], row["cosine"]) == ("label", "ddpg", "done", 0.5)
    assert json.loads(row["settings"])["policy_kwargs.net_arch"] == [16, 16]


def test_a_run_of_rl_zoo_is_read_and_monitor_files_stand_in(tmp_path):
    run = tmp_path / "ppo" / "Hopper-v4_1"
    (run / ENV).mkdir(parents=True)
    tag = "!!python/object/apply:collections.OrderedDict\n"
    (run / ENV / "args.yml").write_text(
        f"{tag}- - - algo\n    - ppo\n  - - env\n    - {ENV}\n  - - seed\n    - 7\n"
    )
    (run / "0.monitor.csv").write_text(f'#{{"env_id": "{ENV}"}}\nr,l,t\n1.0,50,1\n2.0,60,2\n')
    found = report.read([tmp_path])
    assert found.evaluations["step"].tolist() == [50, 110]
    row = found.runs.iloc[0]
    assert (row["run"], row["seed"], row["harness"]) == ("ppo", 7, "rl_zoo3")
    assert "stand in" in "\n".join(found.problems)


def test_yaml_is_not_executed(tmp_path):
    run = ours(tmp_path)
    harm = tmp_path / "harmed"
    (run / "config.yml").write_text(f"a: !!python/object/apply:os.system ['touch {harm}']\n")
    report.read([tmp_path])
    assert not harm.exists()


def test_yaml_whose_text_would_fill_the_memory_is_read(tmp_path):
    run = ours(tmp_path)
    # Each level holds the next one three times: below the twentieth, written out, lie 3^20 values.
    text = "{k: 1}"
    for i in range(40):
        text = f"{{k0: &a{i} {text}, k1: *a{i}, k2: *a{i}}}"
    (run / "config.yml").write_text(text)
    assert len(report.read([tmp_path]).runs["settings"][0]) < 10_000_000


def test_evaluations_of_another_environment_are_left_out(tmp_path):
    ours(tmp_path)
    other = ours(tmp_path, 1, env="Walker2d-v4", add=1000)
    (ours(tmp_path, 1) / "evaluations.npz").write_bytes((other / "evaluations.npz").read_bytes())
    assert "contradicts progress.csv" in problems(tmp_path)


@pytest.mark.parametrize("name", ["args.yml", "manifest.json"])
def test_a_folder_copied_half_is_told(tmp_path, name):
    (ours(tmp_path) / name).unlink()
    assert f"copied half? {name} is not there" in problems(tmp_path)


def test_missing_seeds_and_unequal_lengths_are_told_and_never_cut_silently(tmp_path):
    for seed in range(3):
        ours(tmp_path, seed)
    for seed in range(2):
        ours(tmp_path, seed, algo="sac", steps=(100, 200), add=10 * seed)
    found = report.read([tmp_path])
    assert "sac is without seed 2" in "\n".join(found.problems)
    summary = report.summarise(found, "ddpg", "baseline")
    assert any("unequal length" in line and "up to step 200" in line for line in summary.sentences)
    row = summary.per_env.set_index("run").loc["sac"]
    assert (row["step"], row["pairs"], row["difference"]) == (200, 2, 5.0)


def test_one_seed_has_no_interval_and_it_is_said(tmp_path):
    ours(tmp_path)
    ours(tmp_path, algo="sac", add=5)
    summary = report.summarise(report.read([tmp_path]), "ddpg", "baseline")
    assert summary.per_env["difference_low"].isna().all()
    assert summary.per_env["iqm_low"].isna().all()
    assert "one seed: no interval" in "\n".join(summary.sentences)


def test_the_same_run_from_two_places_never_merges(tmp_path):
    for place in ("a", "b"):
        ours(tmp_path / place / "runs")
    names = set(report.load(tmp_path / "a" / "runs", tmp_path / "b" / "runs")["run"])
    assert len(names) == 2


def test_several_environments_are_normalised(tmp_path):
    for env in (ENV, "Walker2d-v4"):
        for seed in range(3):
            ours(tmp_path, seed, env=env)
            ours(tmp_path, seed, env=env, algo="sac", add=50 + seed)
    summary = report.summarise(report.read([tmp_path]), "ddpg", "baseline")
    assert summary.over_all.set_index("run").loc["sac", "mean"] == pytest.approx(1.0)
    assert set(summary.profiles["run"]) == {"ddpg", "sac"}


def test_an_empty_folder_and_an_unknown_baseline_are_errors(tmp_path):
    with pytest.raises(report.NoRuns):
        report.read([tmp_path])
    ours(tmp_path)
    with pytest.raises(report.UnknownBaseline):
        report.compare(tmp_path, baseline="none")
    # A run without evaluations is there, and yet nothing to compare with.
    (ours(tmp_path, algo="sac") / "evaluations.npz").write_bytes(b"PK")
    with pytest.raises(report.UnknownBaseline):
        report.compare(tmp_path, baseline="sac")
