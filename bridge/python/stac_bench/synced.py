"""Buffers of Stable-Baselines3 whose attributes are brought up to date before they are read."""

import functools
import threading
from typing import Any, ClassVar

from stable_baselines3.common.buffers import BaseBuffer

#: Held while something is copied to or from Rust: other threads may read models and buffers too.
EXCHANGE = threading.RLock()


def synced_column(name: str) -> property:
    """An attribute of a buffer that `before_read` and `before_replace` are told about."""

    def get(self: "SyncedBuffer") -> Any:
        self.before_read(name)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: "SyncedBuffer", value: Any) -> None:
        self.before_replace(name)
        self.__dict__[name] = value

    return property(get, put)


class SyncedBuffer(BaseBuffer):
    """Mixin for a buffer class. Pickles and copies are instances of the original class."""

    #: Attributes that the original class does not have; copies are without them.
    extra_attributes: ClassVar[tuple[str, ...]] = ()

    def before_read(self, name: str) -> None:
        """Called before `name` is read. The caller may also write to the array in place."""
        raise NotImplementedError

    def before_replace(self, name: str) -> None:
        """Called before `name` is assigned."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.before_read("pos")
        kind = type(self).__bases__[1]
        state = {k: v for k, v in self.__dict__.items() if k not in self.extra_attributes}
        return kind.__new__, (kind,), state


@functools.cache
def synced_class(mixin: type[SyncedBuffer], kind: type[Any], columns: tuple[str, ...]) -> type[Any]:
    """`kind` with `mixin`, which is told about the attributes `columns`."""
    attributes = {name: synced_column(name) for name in columns}
    return type(f"Synced{kind.__name__}", (mixin, kind), attributes)
