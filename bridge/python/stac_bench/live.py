"""Buffers of Stable-Baselines3 that are brought up to date when somebody looks at them."""

import functools
from typing import Any, ClassVar

from stable_baselines3.common.buffers import BaseBuffer


def column(name: str) -> property:
    """An attribute that is brought up to date first."""

    def get(self: "Live") -> Any:
        self.look(name)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None

    def put(self: "Live", value: Any) -> None:
        self.replace(name)
        self.__dict__[name] = value

    return property(get, put)


class Live(BaseBuffer):
    """Mixed in before a class of buffers. Pickles and copies are of the original class."""

    #: Attributes besides the original's.
    own: ClassVar[tuple[str, ...]] = ()

    def look(self, name: str) -> None:
        """Called before `name` is read, or written to in place."""
        raise NotImplementedError

    def replace(self, name: str) -> None:
        """Called before `name` is replaced."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        self.look("pos")
        kind = type(self).__bases__[1]
        state = {key: value for key, value in self.__dict__.items() if key not in self.own}
        return kind.__new__, (kind,), state


@functools.cache
def live_class(live: type[Live], kind: type[Any], columns: tuple[str, ...]) -> type[Any]:
    """`kind` with `columns` that are brought up to date."""
    return type(f"Live{kind.__name__}", (live, kind), {name: column(name) for name in columns})
