"""Trains one peer for a while and prints the wall time at which each measured step was reached.

    python peer.py sb3 ddpg Walker2d-v4 --warm-up 2000 --steps 3000

One line of JSON: seconds spent in the steps from `warm-up` on, updates included.
Hyperparameters are those of `configs/{ddpg,sac}.yml`.
"""

import argparse
import json
import time
import warnings

import gymnasium as gym
import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import NormalActionNoise

COMMON = {
    "learning_rate": 1e-3,
    "buffer_size": 1_000_000,
    "learning_starts": 1_000,
    "batch_size": 100,
    "tau": 0.005,
    "gamma": 0.99,
    "train_freq": 50,
    "gradient_steps": 50,
}


class Stopwatch(BaseCallback):
    """Notes the time at the first and the last measured step."""

    def __init__(self, first, last):
        super().__init__()
        self.first, self.last, self.times = first, last, {}

    def _on_step(self):
        if self.num_timesteps in (self.first, self.last):
            self.times[self.num_timesteps] = time.perf_counter()
        return True

    @property
    def seconds(self):
        return self.times[self.last] - self.times[self.first]


def make(peer, algo, env):
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
    return model("MlpPolicy", env, policy_kwargs=policy_kwargs, seed=0, **special, **COMMON)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=["sb3", "sbx"])
    parser.add_argument("algo", choices=["ddpg", "sac"])
    parser.add_argument("env")
    parser.add_argument("--warm-up", type=int, default=2_000)
    parser.add_argument("--steps", type=int, default=3_000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    warnings.simplefilter("ignore")
    if arguments.peer == "sb3":
        import torch

        torch.set_num_threads(arguments.threads)
    model = make(arguments.peer, arguments.algo, gym.make(arguments.env))
    watch = Stopwatch(arguments.warm_up, arguments.warm_up + arguments.steps)
    model.learn(watch.last, callback=watch)
    print(json.dumps({"seconds": watch.seconds, "steps": arguments.steps}))


if __name__ == "__main__":
    main()
