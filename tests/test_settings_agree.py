"""Settings of the Python classes agree with those of Rust and of Stable-Baselines3."""

import inspect
import json
import re
import typing

import pytest
import stable_baselines3 as sb3
from algorithms import CLASSES, RUN
from conftest import ROOT
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from stac_bench import AC, DDPG, SAC, STAC, STDDPG, STSAC, STTD3, TD3, _native, keywords
from stac_bench.zoo.registry import ALGORITHMS
from test_python import QUICK

THEIRS = {
    AC: sb3.A2C,
    STAC: sb3.A2C,
    DDPG: sb3.DDPG,
    STDDPG: sb3.DDPG,
    TD3: sb3.TD3,
    STTD3: sb3.TD3,
    SAC: sb3.SAC,
    STSAC: sb3.SAC,
}
FORMS = [(kind, leader) for kind in THEIRS for leader in kind.forms]
EACH_FORM = pytest.mark.parametrize("kind, leader", FORMS)
EACH_CLASS = pytest.mark.parametrize("kind", THEIRS)
#: Keywords that are no setting of an algorithm.
PYTHON_ALONE = {"threads", "preset"}


def rust(kind, leader, env="default", preset=None):
    return json.loads(_native.settings(kind.forms[leader], env, preset))


def theirs(kind):
    return inspect.signature(THEIRS[kind]).parameters


def own(kind, leader, env="default", preset=None):
    """What Rust declares and Stable-Baselines3's class does not have, with Rust's defaults."""
    settings = json.loads(_native.defaults(kind.forms[leader], env, preset))
    return {k: v for k, v in settings.items() if k not in theirs(kind)}


def declared(kind, leader):
    return json.loads(_native.declared(kind.forms[leader]))["properties"]


def led_by(leader):
    return {} if leader is None else {"leader": leader}


def test_every_algorithm_has_one_class():
    assert set(CLASSES) == set(THEIRS)
    assert sorted(kind.forms[leader] for kind, leader in FORMS) == sorted(_native.algorithms())
    assert [name for _, name in ALGORITHMS.values()] == _native.algorithms()
    for zoo_name, (kind, name) in ALGORITHMS.items():
        assert list(kind.forms.values()) == [name] and zoo_name.removesuffix("-rs") == name
        (leader,) = kind.forms
        base = next(base for base in kind.__mro__ if base in THEIRS)
        assert kind.own_defaults == base.defaults(leader)


@EACH_FORM
def test_our_keywords_and_their_defaults_are_rusts(kind, leader):
    expected = {**own(kind, leader), **kind.changed_defaults, "threads": 1}
    assert kind.defaults(leader) == expected
    model = kind("MlpPolicy", "Pendulum-v1", **led_by(leader))
    assert {name: getattr(model, name) for name in expected} == expected
    assert model.preset is None


def test_the_exceptions_are_those_that_go_with_stable_baselines3s_learning_rate():
    assert AC.changed_defaults == STAC.changed_defaults
    assert AC.changed_defaults == {"optimizer": "adam", "critic_learning_rate": None}
    assert not DDPG.changed_defaults and not SAC.changed_defaults


@EACH_CLASS
def test_keywords_of_stable_baselines3_keep_its_defaults(kind):
    ours = inspect.signature(kind).parameters
    expected = {k: p for k, p in theirs(kind).items() if k not in kind.foreign}
    assert {name: ours[name] for name in expected} == expected
    assert set(ours) - set(expected) == set(own(kind, next(iter(kind.forms)))) | PYTHON_ALONE
    model = kind("MlpPolicy", "Pendulum-v1")
    for name in ("learning_rate", "learning_starts", "batch_size", "n_steps", "ent_coef"):
        if name in expected:
            assert getattr(model, name) == expected[name].default


@EACH_CLASS
def test_types_and_descriptions_cover_every_keyword(kind):
    words = typing.get_type_hints(getattr(keywords, f"{kind.__name__}Keywords"))
    ours = set(kind.own_defaults) | PYTHON_ALONE
    foreign = {"policy", "env", *kind.foreign}
    assert set(words) == (set(theirs(kind)) - foreign) | ours
    described = re.findall(r"^:param (\w+): \S", kind.__doc__, re.MULTILINE)
    assert sorted(described) == sorted(ours)
    attributes = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("stac_bench"):
            attributes |= typing.get_type_hints(base)
    assert {name: attributes[name] for name in ours} == {name: words[name] for name in ours}


@EACH_FORM
def test_every_setting_of_rust_reaches_the_agent(kind, leader):
    """Except those of which Python tells the agent in another way."""
    sde = {"use_sde": True} if issubclass(kind, SAC) else {}
    model = kind("MlpPolicy", "Pendulum-v1", **led_by(leader), **sde)
    schedule = {"learning_rate", "learning_starts", "gradient_steps", "n_steps"}
    declared = set(rust(kind, leader)) - RUN
    assert set(model._settings()) == declared - schedule


# -- presets -------------------------------------------------------------------------------------


@EACH_FORM
def test_a_preset_is_that_of_the_command_line(kind, leader, tmp_path):
    paper = {**own(kind, leader, preset="paper"), **kind.changed_defaults, "threads": 1}
    model = kind("MlpPolicy", "Pendulum-v1", preset="paper", **led_by(leader))
    assert {name: getattr(model, name) for name in paper} == paper
    assert leader is None or paper != kind.defaults(leader)
    model.save(tmp_path / "model.zip")
    loaded = kind.load(tmp_path / "model.zip")
    assert loaded.preset == "paper"
    assert {name: getattr(loaded, name) for name in paper} == paper


def test_keywords_beat_the_preset():
    model = STDDPG("MlpPolicy", "Pendulum-v1", preset="paper", lam=3.0, learning_starts=7)
    assert (model.lam, model.solver, model.learning_starts) == (3.0, "cg", 7)


def test_a_preset_is_the_environments():
    """The paper has another damping on CartPole."""
    by_name = STAC("MlpPolicy", "CartPole-v1", preset="paper")
    wrapped = STAC("MlpPolicy", VecNormalize(by_name.env), preset="paper")
    assert by_name.lam == wrapped.lam == rust(STAC, "actor", "CartPole-v1", "paper")["lam"] == 0
    assert STAC("MlpPolicy", "Pendulum-v1", preset="paper").lam == 500


def test_an_environment_without_an_id_takes_the_presets_default():
    from test_python import Short

    model = DDPG("MlpPolicy", DummyVecEnv([Short]), **QUICK, preset="paper")
    assert model.target_policy == rust(DDPG, None, preset="paper")["target_policy"]


@pytest.mark.parametrize("name", ["papr", ""])
def test_an_unknown_preset_is_refused_with_those_there_are(name):
    with pytest.raises(ValueError, match=r"preset=.*paper"):
        STDDPG("MlpPolicy", "Pendulum-v1", preset=name)
    assert set(_native.presets()) == set(typing.get_args(keywords.Preset))


# -- documents -----------------------------------------------------------------------------------


def test_the_document_tells_where_defaults_differ():
    """The table of `docs/python.md` against Stable-Baselines3's signatures and `configs/`."""
    text = (ROOT / "docs" / "python.md").read_text()
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    differing = []
    for kind in (AC, DDPG, SAC):
        settings = rust(kind, None)
        for key in [*theirs(kind), *kind.changed_defaults]:
            if key not in settings or key in ("policy_kwargs", "device"):
                continue
            python = inspect.signature(kind).parameters[key].default
            if python != settings[key]:
                cells = f"`{kind.__name__}`", f"`{key}`", python, settings[key]
                differing.append([str(cell) for cell in cells])
    assert rows == differing
