"""The plain Python loop that `env_step.rs` compares the bridge with."""

from time import perf_counter

import gymnasium


class Plain:
    def __init__(self, env, seed):
        self.env = gymnasium.make(env)
        self.env.action_space.seed(seed)
        self.env.reset(seed=seed)

    def run(self, actions):
        """Seconds for these steps, and the sum of their rewards."""
        env, total = self.env, 0.0
        start = perf_counter()
        for action in actions:
            _, reward, terminated, truncated, _ = env.step(action)
            total += reward
            if terminated or truncated:
                env.reset()
        return perf_counter() - start, total
