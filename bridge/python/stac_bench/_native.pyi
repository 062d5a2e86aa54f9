"""The extension module. `DDPG`, `SAC` and the others are its users' interface."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

Floats = NDArray[np.float32]

def libtorch() -> str: ...
def algorithms() -> list[str]: ...
def environments(algo: str) -> list[str]: ...
def settings(algo: str, env: str) -> str: ...
def main(arguments: Sequence[str]) -> int: ...

class DivergedError(RuntimeError):
    """Weights, gradients or losses are no longer finite: training cannot go on."""

class Agent:
    def __new__(
        cls,
        algo: str,
        settings: str,
        obs_dim: int,
        actions: spaces.Space[Any],
        seed: int,
        threads: int,
    ) -> Agent: ...
    damping: float
    def configure(
        self, algo: str, settings: str, actions: spaces.Space[Any], seed: int, threads: int
    ) -> None: ...
    def reseed(self, seed: int) -> None: ...
    @property
    def updates(self) -> int: ...
    @property
    def remembered(self) -> int: ...
    def parameters(self) -> dict[str, Floats]: ...
    def set_parameters(self, parameters: dict[str, Floats]) -> None: ...
    def moments(self) -> dict[str, tuple[int, Floats, Floats]]: ...
    def set_moments(self, moments: dict[str, tuple[int, Floats, Floats]]) -> None: ...
    def metrics(self) -> dict[str, float]: ...
    def set_learning_rate(self, learning_rate: float) -> None: ...
    def act(self, obs: Floats) -> Floats: ...
    def recall(self, count: int) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]: ...
    def remember(
        self,
        obs: Floats,
        actions: Floats,
        rewards: Floats,
        next_obs: Floats,
        dones: Floats,
        timeouts: Floats,
        next: int | None = None,
    ) -> None: ...
    def drawn(self) -> Floats: ...
    def game_gradients(
        self, batch: dict[str, Floats], settings: str
    ) -> tuple[dict[str, dict[str, Floats]], dict[str, Any]]: ...
    def learn(
        self,
        env: VecEnv,
        first: Any,
        rollouts: Any,
        start: int,
        threads: int,
        *,
        encode: Callable[[Any, bool], Floats] | None = None,
        normalizer: VecNormalize | None = None,
        noise: Callable[[], np.ndarray | None] | None = None,
    ) -> int: ...
