"""Stable-Baselines3 (PyTorch) and SBX (JAX)."""

import gymnasium as gym
import numpy as np
from settings import ENTROPY_COEFFICIENT, EXPLORATION_NOISE, HIDDEN, OFF_POLICY
from stable_baselines3.common.noise import NormalActionNoise


def train(peer, algo, env, seed, threads, watch):
    """Trains until `watch(steps)` says that it is enough."""
    env = gym.make(env)
    if peer == "sb3":
        import stable_baselines3 as library
        import torch

        torch.set_num_threads(threads)
        activation = torch.nn.ReLU
    else:
        import jax
        import sbx as library

        activation = jax.nn.relu
    if algo == "sac":
        special = {"ent_coef": ENTROPY_COEFFICIENT}
    else:
        shape = env.action_space.shape
        noise = NormalActionNoise(np.zeros(shape), np.full(shape, EXPLORATION_NOISE))
        special = {"action_noise": noise}
    policy_kwargs = {"net_arch": HIDDEN, "activation_fn": activation}
    model = getattr(library, algo.upper())
    model = model("MlpPolicy", env, policy_kwargs=policy_kwargs, seed=seed, **special, **OFF_POLICY)
    model.learn(1_000_000, callback=lambda *_: watch(model.num_timesteps))
