"""A Stable-Baselines3 replay buffer that mirrors the Rust replay memory."""

import copy
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from stac_bench.observations import Observations
from stac_bench.synced import SyncedBuffer, synced_class

if TYPE_CHECKING:
    from stac_bench.off_policy import RustOffPolicy

COLUMNS = (
    *("observations", "next_observations", "actions", "rewards", "dones", "timeouts"),
    *("pos", "full"),
)


class SyncedReplay(SyncedBuffer, ReplayBuffer):
    """Mixin for a replay buffer: keeps it equal to the Rust memory of a model.

    Reading an attribute first copies new transitions from Rust (`pull`). `add` writes to both.
    After an array was read, or `reset` was called, the buffer may differ from the Rust memory, so
    it is copied back as a whole before the model continues (`push_changes`).
    """

    extra_attributes = ("_owner", "_copied", "_may_be_newer")
    _owner: "RustOffPolicy | None" = None
    #: How many transitions of the Rust memory were copied so far.
    _copied = 0
    #: Whether the arrays may hold changes that the Rust memory does not have.
    _may_be_newer = True

    def before_read(self, name: str) -> None:
        self.pull()
        # An array can be written to in place.
        self._may_be_newer |= name not in ("pos", "full")

    def before_replace(self, name: str) -> None:
        self.pull()
        self._may_be_newer = True

    def pull(self) -> None:
        """Copies transitions that only the Rust memory has."""
        if self._owner is None or self._owner._agent is None or self._may_be_newer:
            return
        agent, codec = self._owner._agent, self._owner._codec
        new, n = agent.remembered - self._copied, self.n_envs
        if new == 0:
            return
        self._copied += new
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

    def place(self) -> tuple[int, bool]:
        """Where the next transition goes, and whether it replaces one."""
        self.pull()
        return self.__dict__["pos"], self.__dict__["full"]

    def pull_all(self, place: tuple[int, bool]) -> None:
        """Copies the whole Rust memory, which is at `place`."""
        assert self._owner is not None and self._owner._agent is not None
        pos, full = place
        steps = self.buffer_size if full else pos
        self.__dict__.update(pos=pos if full else 0, full=full)
        self._copied = self._owner._agent.remembered - steps * self.n_envs
        self._may_be_newer = False
        self.pull()

    def push_changes(self) -> None:
        """Replaces the content of the Rust memory by the arrays, if those may have changed."""
        if not self._may_be_newer or self._owner is None:
            return
        if self.n_envs != self._owner.n_envs:
            raise ValueError(f"the replay buffer is of {self.n_envs} environments")
        full, pos = self.__dict__["full"], self.__dict__["pos"]
        # Equal rings, place by place: both sample the same transitions for the same random numbers.
        self._push(self._owner, slice(0, self.buffer_size if full else pos), pos * self.n_envs)

    def add(self, *args: Any, **kwargs: Any) -> None:
        pos, may_be_newer = self.pos, self._may_be_newer
        super().add(*args, **kwargs)
        if not may_be_newer and self._owner is not None:
            self._push(self._owner, slice(pos, pos + 1), None)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        self.pull()
        may_be_newer = self._may_be_newer
        try:
            return super().sample(*args, **kwargs)
        finally:
            self._may_be_newer = may_be_newer  # sampling reads the arrays, but changes nothing

    def _push(self, owner: "RustOffPolicy", rows: slice, position: int | None) -> None:
        """Appends `rows` to the Rust memory. With `position`, they replace all that it holds, and
        the next transition goes there."""
        agent, codec, store = owner._agent, owner._codec, self.__dict__
        assert agent is not None

        def observations(values: Observations, at: slice | np.ndarray = rows) -> np.ndarray:
            # Axes: step, environment, then those of the space.
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
            position,
        )
        self._copied, self._may_be_newer = agent.remembered, False


def attach(buffer: ReplayBuffer, model: "RustOffPolicy") -> SyncedReplay:
    """Makes `buffer` the mirror of the memory of `model`, which takes over its content."""
    if isinstance(buffer, SyncedReplay) and buffer._owner not in (None, model):
        buffer = copy.deepcopy(buffer)  # the other model keeps its own
    if not isinstance(buffer, SyncedReplay):
        buffer.__class__ = synced_class(SyncedReplay, type(buffer), COLUMNS)
    synced = cast(SyncedReplay, buffer)
    synced.pull()
    synced._owner, synced._may_be_newer = model, True
    return synced
