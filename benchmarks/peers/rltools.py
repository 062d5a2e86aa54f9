"""RLtools (C++), through its Python interface, with a Gymnasium environment or its own pendulum.

Sizes are constants of its code, which is compiled anew for each algorithm and environment (40 s;
`.venv-bench` keeps the result), with the MKL that `rltools[mkl]` brings. What has no setting: it
updates after every step, not fifty times after fifty; its TD3 learns from step 100 on.
"""

import sys
import tempfile
from pathlib import Path

import gymnasium as gym
from settings import ENTROPY_COEFFICIENT, EXPLORATION_NOISE, HIDDEN, OFF_POLICY, PENDULUM

HERE = Path(__file__).resolve().parent
FOREVER = 1_000_000_000


def sizes():
    """What is compiled in, under RLtools' names."""
    widths = set(HIDDEN)
    assert len(widths) == 1, f"RLtools has one width for all hidden layers, not {HIDDEN}"
    both = {
        "BATCH_SIZE": OFF_POLICY["batch_size"],
        "HIDDEN_DIM": widths.pop(),
        "NUM_LAYERS": len(HIDDEN) + 1,
        "POLYAK": 1 - OFF_POLICY["tau"],
    }
    return {f"{who}_{key}": value for who in ("ACTOR", "CRITIC") for key, value in both.items()} | {
        "GAMMA": OFF_POLICY["gamma"],
        "OPTIMIZER_ALPHA": OFF_POLICY["learning_rate"],
        "N_WARMUP_STEPS": OFF_POLICY["learning_starts"],
        "REPLAY_BUFFER_CAP": OFF_POLICY["buffer_size"],
        "STEP_LIMIT": FOREVER,
    }


def train(peer, algo, env, seed, threads, watch):
    """Trains until `watch(steps)` says that it is enough. MKL takes its threads from variables."""

    def python_environment():
        made = gym.make(env)
        made.reset(seed=seed)
        return made

    pendulum = {"path": str(HERE / "pendulum"), "observation_dim": 3, "action_dim": 1}
    special = {
        "td3": {"EXPLORATION_NOISE": EXPLORATION_NOISE},
        "sac": {"ALPHA": ENTROPY_COEFFICIENT, "ADAPTIVE_ALPHA": False},
    }[algo]
    # It compiles into the folder of temporary files that it finds when it is imported.
    tempfile.tempdir = str(Path(sys.prefix) / "compiled")
    Path(tempfile.tempdir).mkdir(exist_ok=True)
    import rltools

    module = getattr(rltools, algo.upper())(
        pendulum if env == PENDULUM else python_environment,
        interface_name="pendulum" if env == PENDULUM else "gymnasium",
        enable_evaluation=False,
        **sizes(),
        **special,
    )
    state, step = module.State(seed), 0
    while not state.step() and watch(step := step + 1):
        pass
