"""Jobs of Stable-Baselines3's own algorithms with our settings."""

import json

import stable_baselines3 as sb3
from stac_bench import _native

# Ours with the settings of each.
OURS = {"ddpg": "ddpg", "td3": "td3", "sac": "sac", "a2c": "ac"}
KINDS = {"ddpg": sb3.DDPG, "td3": sb3.TD3, "sac": sb3.SAC, "a2c": sb3.A2C}
ENVS = {"ddpg": "Pendulum-v1", "td3": "InvertedPendulum-v4", "sac": "Pendulum-v1"}
ENVS["a2c"] = "CartPole-v1"
OFF_POLICY = ["ddpg", "td3", "sac"]
SMALL = {"policy_kwargs.net_arch": [16, 8]}
# What our defaults must give up to be equal, and small sizes.
EQUAL = {
    **{algo: {**SMALL, "learning_starts": 60, "random_steps": 60} for algo in OFF_POLICY},
    "a2c": {**SMALL, "gae_lambda": 1, "n_steps": 40},
}


def settings(algo, **given):
    """Ours, with what makes them equal, and `given` by dotted names."""
    ours = json.loads(_native.settings(OURS[algo], ENVS[algo], None))
    for key, value in {**EQUAL[algo], **given}.items():
        *networks, name = key.split(".")
        (ours[networks[0]] if networks else ours)[name] = value
    return ours


def job(algo, folder, seed=3, **given):
    return {
        **{"algo": algo, "env": ENVS[algo], "seed": seed, "folder": str(folder), "threads": 1},
        **{"env_import": [], "settings": settings(algo, **given)},
    }
