"""What goes wrong in the Python package, and how it says so."""

import functools
import os
import pickle
import re
import signal
import subprocess
import threading

import numpy as np
import pytest
import stac_bench
import torch as th
from algorithms import CLASSES
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor
from stac_bench import AC, DDPG, SAC, STAC, STDDPG, STSAC, DivergedError
from test_python import QUICK, Short


def test_nan_rewards_raise_value_error_and_leave_the_model_usable():
    model = DDPG("MlpPolicy", Short(poison=60), **QUICK)
    with pytest.raises(ValueError, match=r"reward of NaN at step 60"):
        model.learn(100)
    assert np.isfinite(model.predict(np.zeros((1, 2), np.float32))[0]).all()


@pytest.mark.parametrize("kind", CLASSES)
def test_a_divergence_has_an_exception_of_its_own(kind):
    model = kind("MlpPolicy", Short(), learning_rate=1e30, seed=0)
    with pytest.raises(
        DivergedError, match=r"non-finite at update .*lower `learning_rate`"
    ) as info:
        model.learn(300)
    assert isinstance(info.value, RuntimeError) and not isinstance(info.value, ValueError)
    again = pickle.loads(pickle.dumps(info.value))
    assert type(again) is stac_bench.DivergedError and again.args == info.value.args


def test_an_environments_exception_comes_through_as_it_is():
    with pytest.raises(LookupError, match="out of luck"):
        DDPG("MlpPolicy", Short(fail=30), **QUICK).learn(100)


def test_a_callbacks_exception_comes_through_as_it_is():
    def fail(*_):
        raise ZeroDivisionError("callback")

    with pytest.raises(ZeroDivisionError, match="callback"):
        DDPG("MlpPolicy", "Pendulum-v1", **QUICK).learn(100, callback=fail)


@pytest.mark.parametrize(
    "kind, keywords, words",
    [
        (SAC, {"n_steps": 3}, "n_steps"),
        (SAC, {"target_update_interval": 0}, "target_update_interval"),
        (SAC, {"ent_coef": "auto_0"}, "ent_coef"),
        (STDDPG, {"lam": float("nan")}, "lam=nan"),
        (STDDPG, {"lam": -1.0}, "lam"),
        (DDPG, {"threads": 0}, "threads"),
        (DDPG, {"replay_buffer_kwargs": {"handle_timeout_termination": False}}, "handle_timeout"),
        (DDPG, {"policy_kwargs": {"net_arch": {"pi": [8], "qf": [9]}}}, "net_arch"),
        (DDPG, {"policy_kwargs": {"activation_fn": "gelu"}}, "gelu"),
        (STDDPG, {"leader": "referee"}, "referee.*actor or critic"),
        (STDDPG, {"leader": None}, "leader"),
        (STDDPG, {"solver": "magic"}, "magic"),
        (
            STDDPG,
            {
                "leader": "critic",
                "solver": "woodbury",
                "policy_kwargs": {"activation_fn": th.nn.Tanh},
            },
            "woodbury.*tanh",
        ),
        (STDDPG, {"target_policy": "target"}, "target_policy"),
        (STAC, {"leader": "critic"}, "leader"),
        (STDDPG, {"cg_iterations": 20}, "cg_iterations.*`cg` and `neumann`"),
        (STDDPG, {"curvature": "hessian"}, "curvature.*`cg`"),
        (STSAC, {"leader": "critic", "solver_rank": 3}, "solver_rank.*`nystrom`"),
        (DDPG, {"lam": 3.0}, "lam.*`stddpg-al`"),
        (AC, {"solver": "woodbury"}, "solver.*`stac`"),
        (DDPG, {"policy_kwargs": {"n_critics": 2}}, "n_critics=2"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(kind, keywords, words):
    with pytest.raises((ValueError, AssertionError), match=words):
        kind("MlpPolicy", "Pendulum-v1", **keywords)


@pytest.mark.parametrize("kind", [AC, DDPG, STSAC])
@pytest.mark.parametrize(
    "name, value",
    [
        ("optimizer_class", th.optim.RMSprop),
        ("optimizer_kwargs", {"eps": 1e-5}),
        ("features_extractor_class", BaseFeaturesExtractor),
        ("features_extractor_kwargs", {"features_dim": 3}),
    ],
)
def test_policy_keywords_are_not_ignored(kind, name, value):
    """Training has Adam's defaults, flat features and initial weights of its own."""
    with pytest.raises(ValueError, match=f"{name}={re.escape(repr(value))}"):
        kind("MlpPolicy", "Pendulum-v1", policy_kwargs={name: value})


def test_policy_keywords_at_what_they_are_here_are_taken():
    adam = {"optimizer_class": th.optim.Adam, "optimizer_kwargs": {"betas": [0.9, 0.999]}}
    flat = {"share_features_extractor": True, "features_extractor_class": FlattenExtractor}
    DDPG("MlpPolicy", "Pendulum-v1", policy_kwargs={**adam, **flat, "n_critics": 1})
    with pytest.raises(ValueError, match="ortho_init=False"):
        AC("MlpPolicy", "Pendulum-v1", policy_kwargs={"ortho_init": False})


@pytest.mark.parametrize("kind", CLASSES)
def test_unknown_keywords_are_type_errors_that_name_them(kind):
    with pytest.raises(TypeError, match="lamda"):
        kind("MlpPolicy", "Pendulum-v1", lamda=1.0)
    if "leader" not in kind.own_defaults:
        with pytest.raises(TypeError, match="leader"):
            kind("MlpPolicy", "Pendulum-v1", leader="actor")
    with pytest.raises(TypeError, match="n_actors"):
        kind("MlpPolicy", "Pendulum-v1", policy_kwargs={"n_actors": 2})
    with pytest.raises(TypeError, match="rollout_buffer_class"):
        kind("MlpPolicy", "Pendulum-v1", rollout_buffer_class=None)


def test_ctrl_c_stops_learning_and_keeps_what_was_learnt(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import stac_bench\n"
        "model = stac_bench.DDPG('MlpPolicy', 'Pendulum-v1', learning_starts=10, seed=0)\n"
        "try:\n"
        "    model.learn(10**7, callback=lambda l, g: print('step', flush=True) or True)\n"
        "except KeyboardInterrupt:\n"
        "    steps = next(iter(model.actor.optimizer.state.values()))['step']\n"
        "    print('interrupted', model.num_timesteps > 0, float(steps) > 0)\n"
    )
    # A shell gives its background jobs an ignored SIGINT, and Python then leaves it so.
    default = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        [python, script], stdout=subprocess.PIPE, text=True, preexec_fn=default
    ) as process:
        for _ in range(30):
            assert process.stdout.readline().strip() == "step"
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert output.splitlines()[-1] == "interrupted True True"


def test_other_threads_run_during_updates():
    counts, done = [0], threading.Event()

    def count():
        while not done.is_set():
            counts[0] += 1

    before_and_after = []
    counter = threading.Thread(target=count)
    counter.start()
    try:
        # The first round of updates falls between the callbacks of steps 100 and 101.
        model = DDPG(
            "MlpPolicy", Short(), seed=0, learning_starts=99, train_freq=100, gradient_steps=300
        )
        model.learn(101, callback=lambda *_: before_and_after.append(counts[0]) or True)
    finally:
        done.set()
        counter.join()
    steps = np.diff(before_and_after)
    during, usual = steps[99], np.median(steps)
    assert during > 10 * max(usual, 100)


@pytest.mark.parametrize("code", ["from stac_bench import DDPG", "import stac_bench.zoo"])
@pytest.mark.parametrize("version", ["2.12.1", None])
def test_another_pytorch_is_an_import_error_that_says_what_to_do(python, tmp_path, version, code):
    (tmp_path / "torch").mkdir()
    text = f"__version__ = '{version}+cpu'" if version else "raise ImportError('no torch')"
    (tmp_path / "torch" / "__init__.py").write_text(text)
    done = subprocess.run(
        [python, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "pip install 'torch==2.13.*'" in done.stderr.splitlines()[-1]


def test_versions_agree():
    from importlib.metadata import version

    from stac_bench import _native

    assert version("stac-bench") == stac_bench.__version__
    assert _native.libtorch().split("+")[0] == th.__version__.split("+")[0]
