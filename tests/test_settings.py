"""`stac-bench settings`: every setting with its meaning, as a file that trains to the same."""

import json
import re

import jsonschema
import pytest
import yaml
from conftest import QUICK, ROOT
from stac_bench import _native
from test_bad_input import POINT, wrong

CASES = [
    *((algo, ()) for algo in _native.algorithms()),
    *((algo, ("--preset", "paper")) for algo in _native.algorithms()),
    *(("stddpg-al", ("--set", f"solver={solver}")) for solver in ("cg", "nystrom", "dense")),
    ("ac", ("--set", "step_match=true")),
    ("sac", ("--set", "noise_match=true")),
]


def leaves(settings, path=()):
    """Dotted names of all settings."""
    for key, value in settings.items():
        if isinstance(value, dict) and key == "policy_kwargs":
            yield from leaves(value, (*path, key))
        else:
            yield ".".join((*path, key))


@pytest.fixture
def show(stac_bench, tmp_path):
    """What `stac-bench settings ARGUMENTS` prints."""

    def run(*arguments):
        done = stac_bench(tmp_path, "settings", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("algo, options", CASES)
def test_the_file_has_every_setting_behind_its_meaning(show, algo, options):
    text = show(algo, *options)
    settings = yaml.safe_load(text)["default"]
    declared = json.loads(_native.declared(algo))["properties"]
    assert set(settings) <= set(declared)
    if not any("set" in option for option in options):
        preset = options[-1] if options else None
        assert settings == json.loads(_native.settings(algo, preset=preset))
    lines = text.splitlines()
    for key in leaves(settings):
        schema = {"properties": declared}
        for part in key.split("."):
            schema = schema["properties"][part]
        at = next(i for i, line in enumerate(lines) if line.strip().startswith(f"{part}:"))
        first = next(i for i in range(at, 0, -1) if not lines[i - 1].strip().startswith("#"))
        comment = " ".join(line.strip(" #") for line in lines[first:at])
        assert schema["description"] in comment
        assert re.search(r"\(.+\)$", comment), comment


def test_ranges_choices_and_defaults_are_said(show):
    text = show("stddpg-al", "--preset", "paper", "--set", "gamma=0.5")
    for words in (
        "(number, between 0 and 1; default 0.99)",
        "(whole number, at least 1, or -1 for one update per environment step)",
        "(`adam`, `sgd`)",
        "(number above 0, or null)",
        "(whole number, at least 1; of `cg` and `neumann`)",
        "(`true`, `false`; of `cg` and `neumann`; default true)",
    ):
        assert words in re.sub(r"\n +# ", " ", text), words


@pytest.mark.parametrize("algo, options", CASES)
def test_the_file_is_one_for_config_and_changes_nothing(show, tmp_path, algo, options):
    text = show(algo, *options)
    (tmp_path / "c.yml").write_text(text)
    assert show(algo, *options, "--config", "c.yml") == text
    if not options or "paper" in options:
        # Nothing of the preset is lost.
        assert yaml.safe_load(show(algo, "--config", "c.yml")) == yaml.safe_load(text)


def test_a_run_of_the_file_is_the_run_itself(show, train, tmp_path):
    env = POINT[1]
    text = show("stsac-al", *POINT, *QUICK)
    (tmp_path / "c.yml").write_text(text)
    runs = [
        train(tmp_path, "stsac-al", env, *POINT[2:], "--out", "a"),
        train(tmp_path, "stsac-al", env, *POINT[2:], "--out", "b", "--config", "c.yml"),
    ]
    runs = [tmp_path / out / "stsac-al" / f"{env}_0" for out in "ab"]
    assert yaml.safe_load(text)["default"] == yaml.safe_load((runs[0] / "config.yml").read_text())
    for file in ("config.yml", "final_model/model.safetensors", "evaluations.npz"):
        assert (runs[0] / file).read_bytes() == (runs[1] / file).read_bytes()


def test_the_environment_and_the_options_count(show):
    settings = yaml.safe_load(show("ddpg", "--env", "InvertedPendulum-v4", "--steps", 77))[
        "default"
    ]
    assert settings == {
        **json.loads(_native.settings("ddpg", "InvertedPendulum-v4")),
        "n_timesteps": 77,
    }
    assert settings["learning_rate"] == 1e-4


@pytest.mark.parametrize("algo, options", CASES)
def test_the_schema_has_the_settings_for_defaults(show, algo, options):
    schema = json.loads(show(algo, *options, "--format", "json-schema"))
    settings = yaml.safe_load(show(algo, *options))["default"]

    def defaults(schema):
        parts = schema["properties"].items()
        return {k: defaults(part) if "properties" in part else part["default"] for k, part in parts}

    assert defaults(schema) == settings


@pytest.mark.parametrize("algo", _native.algorithms())
def test_the_schema_holds_for_settings_and_for_no_others(show, algo):
    schema = json.loads(show(algo, "--format", "json-schema"))
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator.check_schema(json.loads(_native.declared(algo)))
    validator = jsonschema.Draft202012Validator(schema)
    settings = json.loads(_native.settings(algo))
    validator.validate(settings)
    for key, value in (("gamma", 2), ("learning_rate", 0), ("optimizer", "adma"), ("gama", 0.9)):
        assert not validator.is_valid({**settings, key: value}), key


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["stdpg-al"], ["`stdpg-al`", "the nearest is `stddpg-al`"]),
        (["ddpg", "--env", "Walkr2d-v4"], ["Walkr2d", "Walker2d"]),
        (["ddpg", "--set", "gama=0.9"], ["unknown key `gama`", "the nearest is `gamma`"]),
        (["ddpg", "--set", "gamma=2"], ["`gamma` is 2"]),
    ],
)
def test_what_is_wrong_is_said_as_elsewhere(stac_bench, tmp_path, arguments, words):
    wrong(stac_bench(tmp_path, "settings", *arguments), *words)


@pytest.mark.parametrize(
    "arguments, word",
    [
        (["ddpg", "--preset", "papr"], "paper"),
        (["ddpg", "--format", "toml"], "json-schema"),
        ([], "ALGO"),
    ],
)
def test_wrong_options_end_with_2(stac_bench, tmp_path, arguments, word):
    done = stac_bench(tmp_path, "settings", *arguments)
    assert done.returncode == 2 and word in done.stderr


def test_the_document_is_what_the_program_declares(show):
    """Written anew by `stac-bench settings --document > docs/settings.md`."""
    assert (ROOT / "docs" / "settings.md").read_text() == show("--document")


def test_files_say_only_what_differs():
    """At most 150 lines, and no value that is one without the file."""
    files = list((ROOT / "configs").rglob("*.yml"))
    assert sum(len(file.read_text().splitlines()) for file in files) <= 150
    for file in files:
        declared = json.loads(_native.declared(file.stem))["properties"]
        default = yaml.safe_load(file.read_text()).get("default", {})
        for key, value in default.items():
            nested = declared[key].get("properties", {})
            pairs = (
                [(nested[k], v) for k, v in value.items()] if nested else [(declared[key], value)]
            )
            assert all(schema["default"] != value for schema, value in pairs), key


def test_a_file_may_have_all_blocks_that_those_in_configs_have(show, tmp_path):
    (tmp_path / "c.yml").write_text(
        "default:\n  gamma: 0.9\nstackelberg:\n  lam: 7\nstddpg-cl:\n  lam: 8\n"
        "paper:\n  stackelberg:\n    lam: 9\n"
    )

    def lam(algo, *options):
        settings = yaml.safe_load(show(algo, "--config", "c.yml", *options))["default"]
        assert settings["gamma"] == 0.9
        return settings.get("lam")

    assert [lam(algo) for algo in ("ddpg", "stddpg-al", "stddpg-cl")] == [None, 7, 8]
    assert lam("stddpg-al", "--preset", "paper") == 9
