"""A Gymnasium environment of any size that costs next to nothing; `--env-import sized`."""

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box


class Sized(gym.Env):
    """Random observations; the reward is the first action."""

    def __init__(self, observations, actions):
        self.observation_space = Box(-np.inf, np.inf, (observations,), np.float64)
        self.action_space = Box(-1, 1, (actions,), np.float32)

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.normal(size=self.observation_space.shape), {}

    def step(self, action):
        next_obs = self.np_random.normal(size=self.observation_space.shape)
        return next_obs, float(action[0]), False, False, {}


gym.register("Sized-v0", Sized, max_episode_steps=1_000)
