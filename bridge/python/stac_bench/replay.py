"""Stable-Baselines3's replay buffer on top of the Rust memory."""

import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from stac_bench.live import Live, live_class
from stac_bench.observations import Observations

if TYPE_CHECKING:
    from stac_bench.off_policy import RustOffPolicy

COLUMNS = (
    *("observations", "next_observations", "actions", "rewards", "dones", "timeouts"),
    *("pos", "full"),
)


class LiveReplay(Live, ReplayBuffer):
    """Mixed in before a class of replay buffers, shows what the Rust memory of a model holds.

    What is read is copied first, as far as it is new. What `add` adds goes to the Rust memory at
    once; when arrays were looked at, or `reset` was called, everything is copied back before the
    model goes on.
    """

    own = ("_owner", "_seen", "_written")
    _owner: "RustOffPolicy | None" = None
    #: Transitions of the Rust memory that were copied.
    _seen = 0
    #: Whether the arrays may be newer than the Rust memory.
    _written = True

    def look(self, name: str) -> None:
        self.pull()
        # Arrays are there to be written too.
        self._written |= name not in ("pos", "full")

    def replace(self, name: str) -> None:
        self.pull()
        self._written = True

    def pull(self) -> None:
        """Copies what the Rust memory has and the arrays have not."""
        if self._owner is None or self._owner._agent is None or self._written:
            return
        agent, codec = self._owner._agent, self._owner._codec
        new, n = agent.remembered - self._seen, self.n_envs
        if new == 0:
            return
        self._seen += new
        obs, actions, rewards, next_obs, dones, timeouts = agent.recall(new)
        steps, end = len(rewards) // n, self.__dict__["pos"] + new // n
        places = np.arange(end - steps, end) % self.buffer_size
        self.__dict__["pos"] = end % self.buffer_size
        self.__dict__["full"] |= end >= self.buffer_size
        if self.handle_timeout_termination:
            dones = np.maximum(dones, timeouts)
        else:
            timeouts = np.zeros_like(timeouts)
        next_name, next_places = "next_observations", places
        if self.optimize_memory_usage:
            next_name, next_places = "observations", (places + 1) % self.buffer_size
        columns: list[tuple[str, np.ndarray, Observations]] = [
            ("observations", places, codec.observations(obs.reshape(-1, codec.dim))),
            (next_name, next_places, codec.observations(next_obs.reshape(-1, codec.dim))),
            ("actions", places, actions),
            ("rewards", places, rewards),
            ("dones", places, dones),
            ("timeouts", places, timeouts),
        ]
        for name, at, values in columns:
            store = self.__dict__[name]
            if isinstance(values, dict):
                parts = [(store[key], values[key]) for key in store]
            else:
                parts = [(store, values)]
            for target, source in parts:
                target[at] = source.reshape(steps, *target.shape[1:])

    def settle(self) -> None:
        """Replaces the Rust memory by the arrays, if those may be newer."""
        if not self._written or self._owner is None:
            return
        if self.n_envs != self._owner.n_envs:
            raise ValueError(f"the replay buffer is of {self.n_envs} environments")
        full, pos = self.__dict__["full"], self.__dict__["pos"]
        # The rings agree place by place, so that sampling does too.
        self._send(self._owner, slice(0, self.buffer_size if full else pos), pos * self.n_envs)

    def add(self, *args: Any, **kwargs: Any) -> None:
        pos, written = self.pos, self._written
        super().add(*args, **kwargs)
        if not written and self._owner is not None:
            self._send(self._owner, slice(pos, pos + 1), None)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        self.pull()
        written = self._written
        try:
            return super().sample(*args, **kwargs)
        finally:
            self._written = written

    def _send(self, owner: "RustOffPolicy", rows: slice, following: int | None) -> None:
        """Brings `rows` to the Rust memory: all there are, with `following`, the place to go on."""
        agent, codec, store = owner._agent, owner._codec, self.__dict__
        assert agent is not None

        def observations(values: Observations, at: slice | np.ndarray = rows) -> np.ndarray:
            # An array has an axis of environments after that of steps.
            if isinstance(values, dict):
                return codec.rows({k: v[at].reshape(-1, *v.shape[2:]) for k, v in values.items()})
            batch = values[at].reshape(-1, *values.shape[2:])
            return batch.reshape(len(batch), codec.dim) if codec.plain else codec.rows(batch)

        def numbers(values: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(values, dtype=np.float32).reshape(-1)

        dones, timeouts = store["dones"][rows], store["timeouts"][rows]
        if self.optimize_memory_usage:
            at = np.arange(rows.start + 1, rows.stop + 1) % self.buffer_size
            next_obs = observations(store["observations"], at)
        else:
            next_obs = observations(store["next_observations"])
        agent.remember(
            numbers(observations(store["observations"])),
            numbers(store["actions"][rows]),
            numbers(store["rewards"][rows]),
            numbers(next_obs),
            numbers(dones * (1 - timeouts)),
            numbers(timeouts),
            following,
        )
        self._seen, self._written = agent.remembered, False


def adopt(buffer: ReplayBuffer, model: "RustOffPolicy") -> LiveReplay:
    """Makes `buffer`, whose content is the newer, show the memory of `model`."""
    if isinstance(buffer, LiveReplay) and buffer._owner not in (None, model):
        buffer = copy.deepcopy(buffer)  # the other model goes on with its own
    if not isinstance(buffer, LiveReplay):
        buffer.__class__ = live_class(LiveReplay, type(buffer), COLUMNS)
    live = cast(LiveReplay, buffer)
    live.pull()
    live._owner, live._written = model, True
    return live
