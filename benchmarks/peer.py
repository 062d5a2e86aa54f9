"""Trains one peer for a while and prints how fast it was, as one line of JSON.

    .venv-bench/bin/python benchmarks/peer.py sbx ddpg Walker2d-v4 --warm-up 1500 --seconds 3

Measured are whole rounds (50 steps and their 50 updates) from step `warm-up` on, until `seconds`
have passed: what is compiled at the first update is not among them. Hyperparameters are those of
`configs/{ddpg,sac}.yml`.
"""

import argparse
import json
import time
import warnings

import gymnasium as gym
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

ROUND = 50
COMMON = {
    "learning_rate": 1e-3,
    "buffer_size": 1_000_000,
    "learning_starts": 1_000,
    "batch_size": 100,
    "tau": 0.005,
    "gamma": 0.99,
    "train_freq": ROUND,
    "gradient_steps": ROUND,
}


class Stopwatch(BaseCallback):
    """Notes the time at the start of each round from `warm_up` on, for `seconds`."""

    def __init__(self, warm_up, seconds):
        super().__init__()
        self.warm_up, self.enough, self.times = warm_up, seconds, []

    def _on_step(self):
        if self.num_timesteps >= self.warm_up and self.num_timesteps % ROUND == 0:
            self.times.append(time.perf_counter())
        return self.seconds < self.enough

    @property
    def seconds(self):
        return self.times[-1] - self.times[0] if self.times else 0.0

    @property
    def steps(self):
        return ROUND * (len(self.times) - 1)


def make(peer, algo, env, seed):
    shape = env.action_space.shape
    noise = NormalActionNoise(np.zeros(shape), np.full(shape, 0.1))
    special = {"ddpg": {"action_noise": noise}, "sac": {"ent_coef": 0.2}}[algo]
    if peer == "sb3":
        import stable_baselines3 as library
        import torch

        activation = torch.nn.ReLU
    else:
        import jax
        import sbx as library

        activation = jax.nn.relu
    policy_kwargs = {"net_arch": [256, 256], "activation_fn": activation}
    model = getattr(library, algo.upper())
    return model("MlpPolicy", env, policy_kwargs=policy_kwargs, seed=seed, **special, **COMMON)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=["sb3", "sbx"])
    parser.add_argument("algo", choices=["ddpg", "sac"])
    parser.add_argument("env")
    parser.add_argument("--warm-up", type=int, default=1_500)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    warnings.simplefilter("ignore")
    if arguments.peer == "sb3":
        import torch

        torch.set_num_threads(arguments.threads)
    model = make(arguments.peer, arguments.algo, gym.make(arguments.env), arguments.seed)
    watch = Stopwatch(arguments.warm_up, arguments.seconds)
    model.learn(1_000_000, callback=watch)
    print(json.dumps({"steps": watch.steps, "seconds": watch.seconds}))


if __name__ == "__main__":
    main()
