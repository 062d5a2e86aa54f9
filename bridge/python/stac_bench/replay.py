"""A Stable-Baselines3 replay buffer that mirrors the Rust replay memory."""

import copy
import hashlib
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer

from stac_bench.observations import ObservationCodec, Observations
from stac_bench.synced import EXCHANGE, SyncedBuffer, synced_class

if TYPE_CHECKING:
    from stac_bench import _native
    from stac_bench.off_policy import RustOffPolicy

COLUMNS = (
    *("observations", "next_observations", "actions", "rewards", "dones", "timeouts"),
    *("pos", "full"),
)


class SyncedReplay(SyncedBuffer, ReplayBuffer):
    """Mixin for a replay buffer: keeps it equal to the Rust memory of a model.

    Reading an attribute first copies new transitions from Rust (`pull`). `add` writes to both.
    An array that was read may have been written to. If it was, or `reset` was called, the buffer is
    copied back as a whole before the model continues (`push_changes`).
    """

    extra_attributes = ("_owner", "_copied", "_may_be_newer", "_seen")
    _owner: "RustOffPolicy | None" = None
    #: How many transitions of the Rust memory were copied so far.
    _copied = 0
    #: Whether the arrays may hold changes that the Rust memory does not have.
    _may_be_newer = True
    #: The digest of the arrays when one of them was read; none if they have changed since for sure.
    _seen: bytes | None = None

    def before_read(self, name: str) -> None:
        with EXCHANGE:
            self.pull()
            # An array can be written to in place.
            if name not in ("pos", "full") and not self._may_be_newer:
                self._seen, self._may_be_newer = self._digest(), True

    def before_replace(self, name: str) -> None:
        with EXCHANGE:
            self.pull()
            self._seen, self._may_be_newer = None, True

    def _digest(self) -> bytes:
        """Of all that is held."""
        store = self.__dict__
        rows = slice(0, self.buffer_size if store["full"] else store["pos"])
        digest = hashlib.blake2b(repr((store["pos"], store["full"])).encode())
        for name in COLUMNS[:-2]:
            parts = store.get(name)
            for part in parts.values() if isinstance(parts, dict) else [parts]:
                if part is not None:
                    digest.update(np.ascontiguousarray(part[rows]).data)
        return digest.digest()

    def pull(self) -> None:
        """Copies transitions that only the Rust memory has."""
        with EXCHANGE:
            if self._owner is not None and self._owner._agent is not None:
                self._pull(self._owner._agent, self._owner._codec)

    def _pull(self, agent: "_native.Agent", codec: ObservationCodec) -> None:
        n, read = self.n_envs, self._may_be_newer
        if agent.remembered == self._copied or (read and self._seen != self._digest()):
            return
        while True:
            remembered = agent.remembered
            new = remembered - self._copied
            obs, actions, rewards, next_obs, dones, timeouts = agent.recall(new)
            # The last ones, if none came since.
            if agent.remembered == remembered:
                break
        self._copied = remembered
        steps, end = len(rewards) // n, self.__dict__["pos"] + new // n
        places = np.arange(end - steps, end) % self.buffer_size
        self.__dict__["pos"] = end % self.buffer_size
        self.__dict__["full"] |= end >= self.buffer_size
        dones = np.maximum(dones, timeouts)
        if not self.handle_timeout_termination:
            timeouts = np.zeros_like(timeouts)
        next_name, next_places = "next_observations", places
        if self.optimize_memory_usage:
            next_name, next_places = "observations", (places + 1) % self.buffer_size
        columns: list[tuple[str, np.ndarray, Observations]] = [
            # In this order: of two episodes in one array, the first observation of the later stays.
            (next_name, next_places, codec.observations(next_obs.reshape(-1, codec.dim))),
            ("observations", places, codec.observations(obs.reshape(-1, codec.dim))),
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
        if read:
            self._seen = self._digest()

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
        """Replaces the content of the Rust memory by the arrays, if those have changed."""
        with EXCHANGE:
            if self._may_be_newer and self._owner is not None:
                self._push_all(self._owner)

    def _push_all(self, owner: "RustOffPolicy") -> None:
        if self._seen is not None and self._seen == self._digest():
            self._may_be_newer = False
            return
        if self.n_envs != owner.n_envs:
            raise ValueError(f"the replay buffer is of {self.n_envs} environments")
        full, pos = self.__dict__["full"], self.__dict__["pos"]
        # Equal rings, place by place: both sample the same transitions for the same random numbers.
        self._push(owner, slice(0, self.buffer_size if full else pos), pos * self.n_envs)

    def add(self, *args: Any, **kwargs: Any) -> None:
        with EXCHANGE:
            pos, may_be_newer = self.pos, self._may_be_newer
            self._may_be_newer = True
            super().add(*args, **kwargs)
            if may_be_newer:
                self._seen = None
            if not may_be_newer and self._owner is not None:
                self._push(self._owner, slice(pos, pos + 1), None)

    def sample(self, *args: Any, **kwargs: Any) -> Any:
        with EXCHANGE:
            self.pull()
            may_be_newer, self._may_be_newer = self._may_be_newer, True
            try:
                return super().sample(*args, **kwargs)
            finally:
                self._may_be_newer = may_be_newer  # it reads the arrays, but changes nothing

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
    kind = type(buffer)
    known = (ReplayBuffer, DictReplayBuffer)
    if not (kind in known or (isinstance(buffer, SyncedReplay) and kind.__bases__[1] in known)):
        raise ValueError(
            f"replay_buffer: {kind.__name__} may sample in its own way, and updates sample the Rust"
            " memory: take ReplayBuffer or DictReplayBuffer"
        )
    if isinstance(buffer, SyncedReplay) and buffer._owner not in (None, model):
        buffer = copy.deepcopy(buffer)  # the other model keeps its own
    if not isinstance(buffer, SyncedReplay):
        buffer.__class__ = synced_class(SyncedReplay, type(buffer), COLUMNS)
    synced = cast(SyncedReplay, buffer)
    synced.pull()
    synced._owner, synced._may_be_newer, synced._seen = model, True, None
    return synced
