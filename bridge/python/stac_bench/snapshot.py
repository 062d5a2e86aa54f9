"""Snapshots of an environment: its random generators and its wrappers' attributes.

`capture` copies them into a tree of plain data, `restore` puts a tree into a fresh environment. The
rest (functions, locks, whatever can be closed) is left alone. Stored trees are JSON: no code runs
that a file names. The program embeds this file alone: it imports nothing of this package.
"""

from __future__ import annotations

import base64
import ctypes
import json
import math
import random
import sys
from collections import deque
from enum import Enum
from inspect import isroutine
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from numpy.random import mtrand

Tree = Any


class Generator(NamedTuple):
    """The state of a random generator: `Random` or one of `KINDS`."""

    kind: str
    state: Tree


class Attributes(NamedTuple):
    """The attributes of an object: they are restored into the object that is there."""

    type: str
    values: dict[str, Tree]


class Again(NamedTuple):
    """A part of the tree that was met before."""

    node: Tree


LEFT = ...  # something that is left alone
MISSING = object()
PLAIN = frozenset({type(None), bool, int, float, str, bytes})
BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
KINDS = (*BIT_GENERATORS, "RandomState")
GENERATORS = frozenset({np.random.Generator, np.random.RandomState, random.Random})
NUMERIC = "biufc"
# Attributes of wrappers that describe them; they do not change.
DESCRIPTIONS = frozenset({"env", "_saved_kwargs", "_cached_spec", "_metadata"})
# Wrappers that draw and record: their frames are no state.
RECORDERS = "gymnasium.wrappers.rendering"
DEPTH = 50


def capture(env: Any) -> Tree:
    """Copies the generators of `env` and of this process, and the attributes of each wrapper."""
    seen: dict[int, Tree] = {}
    layers = _layers(env)
    base = layers[-1]
    own = {
        name: _capture(value, seen, 0)
        for name, value in vars(base).items()
        if type(value) in GENERATORS or name == "_np_random_seed" or name == "_np_random"
    }
    return {
        "layers": [_name(layer) for layer in layers],
        "wrappers": [attributes(layer, seen, 0) for layer in layers[:-1]],
        "base": own,
        "spaces": [_capture(space._np_random, seen, 0) for space in _spaces(layers)],
        "random": Generator("Random", random.getstate()),
        "numpy": Generator("RandomState", _numpy_state()),
    }


def restore(env: Any, tree: Tree) -> None:
    """Brings a fresh `env` and the generators of this process to `tree`.

    Raises `ValueError` if the tree has other wrappers or spaces."""
    layers = _layers(env)
    spaces = _spaces(layers)
    names = [_name(layer) for layer in layers]
    if tree["layers"] != names or len(tree["spaces"]) != len(spaces):
        raise ValueError(f"the state is of {tree['layers']}, but the environment is {names}")
    placed: dict[int, Any] = {}
    restore_attributes(layers[-1], tree["base"], placed)
    for layer, attributes in zip(layers, tree["wrappers"], strict=False):
        restore_attributes(layer, attributes, placed)
    for space, generator in zip(spaces, tree["spaces"], strict=True):
        space._np_random = _restore(generator, space._np_random, placed)
    random.setstate(tree["random"].state)
    np.random.set_state(_checked(tree["numpy"].state))


def own_state(env: Any) -> bytes | None:
    """What the environment's own `state_dict` returns, if that and all wrappers are plain data."""
    *around, base = _layers(env)
    try:
        tree = _capture(base.state_dict(), {}, 0) if hasattr(base, "load_state_dict") else LEFT
    except Exception:  # whatever an environment means by that name
        return None
    return to_bytes(tree) if _is_whole(tree) and all(map(_is_captured, around)) else None


def load_own_state(env: Any, data: bytes) -> None:
    """Hands what `own_state` gave to the `load_state_dict` of the environment itself."""
    _layers(env)[-1].load_state_dict(_restore(from_bytes(data), MISSING, {}))


def to_bytes(tree: Tree) -> bytes:
    """The tree as JSON."""
    return json.dumps(_encode(tree, {}), separators=(",", ":")).encode()


def from_bytes(data: bytes) -> Tree:
    """The tree that `to_bytes` has written; raises `ValueError` for anything else."""
    try:
        return _decode(json.loads(data), [])
    except Exception as error:  # whatever the bytes lead to
        raise ValueError(f"no snapshot: {type(error).__name__}: {error}") from error


# --- The environment and its parts ---


def _layers(env: Any) -> list[Any]:
    """The wrappers from the outermost on, then the environment itself."""
    layers = [env]
    while isinstance(layers[-1], gym.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _spaces(layers: list[Any]) -> list[Any]:
    """All spaces, nested ones too, each once, in a fixed order."""
    found: dict[int, Any] = {}

    def walk(values: Any) -> None:
        for value in values:
            if isinstance(value, gym.Space):
                if id(value) not in found:
                    found[id(value)] = value
                    walk(vars(value).values())
            elif isinstance(value, dict):
                walk(value.values())
            elif isinstance(value, (tuple, list)):
                walk(value)

    for layer in layers:
        walk([getattr(layer, "action_space", None), getattr(layer, "observation_space", None)])
    return list(found.values())


def _name(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _is_captured(wrapper: Any) -> bool:
    """Whether `capture` copies all of a wrapper, but for functions and spaces."""
    items = [item for name, item in vars(wrapper).items() if name not in DESCRIPTIONS]
    outside = (gym.Space, FunctionType, MethodType)
    return all(isinstance(item, outside) or _capture(item, {}, 0) is not LEFT for item in items)


# --- Capture ---
# The words of numpy's global generator when it was read last, and its state then.
_last_numpy: list[Any] = [None, None]


def _numpy_state() -> Any:
    """The state of `numpy.random`. Reading it takes 50 us, so its words are compared first."""
    bits = mtrand.get_bit_generator()
    if type(bits) is not np.random.MT19937:
        return np.random.get_state(legacy=False)
    words = ctypes.string_at(bits.ctypes.state_address, 624 * 4 + 4)
    # A stored normal number is used up without a change of the words.
    if _last_numpy[0] != words or _last_numpy[1]["has_gauss"]:
        _last_numpy[:] = [words, np.random.get_state(legacy=False)]
    return _last_numpy[1]


def _capture(value: Any, seen: dict[int, Tree], depth: int) -> Tree:
    kind = type(value)
    if kind in PLAIN:
        return value
    if isinstance(value, np.generic):
        return value if value.dtype.kind in NUMERIC else LEFT
    mark = id(value)
    if mark in seen:
        return Again(seen[mark])
    if depth > DEPTH:
        return LEFT
    depth += 1
    node: Tree = LEFT
    if kind is np.ndarray:
        if value.dtype.kind in NUMERIC:
            node = seen[mark] = value.copy(order="K")
    elif kind is np.random.Generator:
        bits = value.bit_generator
        if type(bits).__name__ in BIT_GENERATORS:
            node = seen[mark] = Generator(type(bits).__name__, bits.state)
    elif kind is np.random.RandomState:
        node = seen[mark] = Generator("RandomState", value.get_state(legacy=False))
    elif kind is random.Random:
        node = seen[mark] = Generator("Random", value.getstate())
    elif kind in (list, deque):
        node = seen[mark] = deque(maxlen=value.maxlen) if kind is deque else []
        node.extend(_capture(item, seen, depth) for item in value)
    elif kind is tuple:
        node = tuple(_capture(item, seen, depth) for item in value)
        if value:  # there is one empty tuple
            seen[mark] = node
    elif kind is set:
        if all(_is_plain(item) for item in value):
            node = seen[mark] = set(value)
    elif isinstance(value, dict):
        if all(_is_plain(key) for key in value):
            node = seen[mark] = {}
            for key, item in value.items():
                node[key] = _capture(item, seen, depth)
    elif _is_plain_object(value):
        node = Attributes(_name(value), attributes(value, seen, depth))
    return node


def attributes(value: Any, seen: dict[int, Tree], depth: int) -> dict[str, Tree]:
    """Copies the attributes of an object."""
    values: dict[str, Tree] = {}
    # An object that is met again is restored where it was met first.
    seen[id(value)] = values
    if type(value).__module__ == RECORDERS:
        return values
    for name, item in vars(value).items():
        if name not in DESCRIPTIONS:
            tree = _capture(item, seen, depth)
            if tree is not LEFT:
                values[name] = tree
    return values


def _is_plain(key: Any) -> bool:
    return type(key) in PLAIN or (type(key) is tuple and all(_is_plain(item) for item in key))


def _is_plain_object(value: Any) -> bool:
    """Whether `value` is an object of attributes, not one that stands for something outside."""
    kind = type(value)
    return (
        hasattr(value, "__dict__")
        and not isroutine(value)
        and not isinstance(value, type | ModuleType | Enum | gym.Space)
        # Files, processes, viewers, writers, environments.
        and not (hasattr(kind, "close") or hasattr(kind, "__exit__"))
        and kind.__module__.partition(".")[0] not in sys.stdlib_module_names
    )


def _is_whole(tree: Tree) -> bool:
    """Whether nothing in the tree was left alone, and it can be made anew."""
    if tree is LEFT or isinstance(tree, Attributes | Again):
        return False
    if isinstance(tree, dict):
        return all(_is_whole(item) for item in tree.values())
    if isinstance(tree, list | tuple | deque) and not isinstance(tree, Generator):
        return all(_is_whole(item) for item in tree)
    return True


# --- Restore ---


def _restore(tree: Tree, current: Any, placed: dict[int, Any]) -> Any:
    """What belongs in the place of `current`: `current` itself where it is equal or left alone."""
    kind = type(tree)
    if tree is LEFT:
        return current
    if kind is Again:
        return placed.get(id(tree.node), current)
    if kind is Attributes:
        if current is not MISSING and _name(current) == tree.type and _is_plain_object(current):
            placed[id(tree.values)] = current
            restore_attributes(current, tree.values, placed)
        return current
    if kind is Generator:
        placed[id(tree)] = value = _restore_generator(tree, current)
        return value
    if kind is np.ndarray:
        same = type(current) is kind and _encode(current, {}) == _encode(tree, {})
        placed[id(tree)] = array = current if same else tree.copy(order="K")
        return array
    if kind in (list, tuple, deque):
        return _restore_items(tree, current, placed)
    if kind is dict:
        return _restore_dict(tree, current, placed)
    if kind is set:
        return current if type(current) is set and current == tree else set(tree)
    return current if type(current) is kind and repr(current) == repr(tree) else tree


def restore_attributes(value: Any, tree: dict[str, Tree], placed: dict[int, Any]) -> None:
    """Puts what `attributes` has copied into an object like it."""
    # Not `setattr`: it may be the class's own, with effects.
    there = vars(value)
    placed[id(tree)] = value
    for name, item in tree.items():
        restored = _restore(item, there.get(name, MISSING), placed)
        if restored is not MISSING and restored is not there.get(name, MISSING):
            there[name] = restored


def _restore_items(tree: Any, current: Any, placed: dict[int, Any]) -> Any:
    kind = type(tree)
    old = list(current) if type(current) is kind else []
    new: Any = deque(maxlen=tree.maxlen) if kind is deque else []
    if kind is not tuple:
        placed[id(tree)] = new
    for i, item in enumerate(tree):
        new.append(_restore(item, old[i] if i < len(old) else MISSING, placed))
    same = type(current) is kind and list(map(id, new)) == list(map(id, old))
    if same or any(item is MISSING for item in new):
        new = current  # nothing differs, or something was left alone that is not there now
    elif kind is tuple:
        new = tuple(new)
    placed[id(tree)] = new
    return new


def _restore_dict(tree: Any, current: Any, placed: dict[int, Any]) -> Any:
    old = current if isinstance(current, dict) else {}
    new: Any = {}
    placed[id(tree)] = new
    for key, item in tree.items():
        value = _restore(item, old.get(key, MISSING), placed)
        if value is not MISSING:
            new[key] = value
    places = [[(key, id(item)) for key, item in each.items()] for each in (new, old)]
    if isinstance(current, dict) and places[0] == places[1]:
        new = current
    elif isinstance(current, dict) and type(current) is not dict:
        # A dictionary of another kind, with what belongs to it (a default, say).
        current.clear()
        current.update(new)
        new = current
    placed[id(tree)] = new
    return new


def _restore_generator(tree: Generator, current: Any) -> Any:
    state = _checked(tree.state)
    if tree.kind == "Random":
        current = current if type(current) is random.Random else random.Random()
        current.setstate(state)
    elif tree.kind == "RandomState":
        current = current if type(current) is np.random.RandomState else np.random.RandomState()
        current.set_state(state)
    else:
        bits = getattr(current, "bit_generator", None)
        if type(current) is not np.random.Generator or type(bits).__name__ != tree.kind:
            if tree.kind not in BIT_GENERATORS:
                raise ValueError(f"{tree.kind} is no generator")
            current = np.random.Generator(getattr(np.random, tree.kind)())
        current.bit_generator.state = state
    return current


def _checked(state: Any) -> Any:
    """`state`, unless it points beyond a generator's buffer: numpy does not look."""
    if isinstance(state, dict):
        places = (state.get("buffer_pos", 0), 4), (state["state"].get("pos", 0), 624)
        for place, limit in places:
            if type(place) is not int or not 0 <= place <= limit:
                raise ValueError(f"a generator's place is {place}, not within 0 to {limit}")
    return state


# --- JSON: plain values as they are, all else as {tag: ...} ---


def _encode(tree: Tree, numbers: dict[int, int]) -> Any:
    """The tree for JSON; `numbers` tells in which place each part was met."""
    kind = type(tree)
    if tree is None or kind in (bool, str):
        return tree
    if kind is int:
        return tree if abs(tree) < 1 << 53 else {"int": hex(tree)}
    if kind is float:
        return tree if math.isfinite(tree) else {"float": tree.hex()}
    if kind is bytes:
        return {"bytes": base64.b64encode(tree).decode()}
    if isinstance(tree, np.generic):
        return {"scalar": [tree.dtype.str, base64.b64encode(tree.tobytes()).decode()]}
    if tree is LEFT or (kind is Again and id(tree.node) not in numbers):
        return {"left": None}
    if kind is Again:
        return {"again": numbers[id(tree.node)]}
    if kind is tuple:
        items = [_encode(item, numbers) for item in tree]
        if tree:  # there is one empty tuple
            numbers[id(tree)] = len(numbers)
        return {"tuple": items}
    numbers[id(tree.values if kind is Attributes else tree)] = len(numbers)
    if kind is np.ndarray:
        order = "F" if tree.flags.fnc else "C"
        text = base64.b64encode(tree.tobytes(order)).decode()
        return {"array": [tree.dtype.str, order, list(tree.shape), text]}
    if kind is Attributes:
        return {"object": [tree.type, _encode_pairs(tree.values, numbers)]}
    if kind is dict:
        return {"dict": _encode_pairs(tree, numbers)}
    if kind is Generator and tree.kind == "Random":
        version, words, gauss = tree.state
        text = base64.b64encode(np.array(words, "<u4").tobytes()).decode()
        return {"random": [version, text, gauss]}
    if kind is Generator:
        return {"generator": [tree.kind, _encode(tree.state, numbers)]}
    items = [_encode(item, numbers) for item in tree]
    if kind is list:
        return items
    return {"set": items} if kind is set else {"deque": [tree.maxlen, items]}


def _encode_pairs(tree: dict[Any, Tree], numbers: dict[int, int]) -> list[Any]:
    return [[_encode(key, {}), _encode(item, numbers)] for key, item in tree.items()]


def _decode(data: Any, nodes: list[Tree]) -> Tree:
    """The tree; `nodes` are its parts so far, in the places that `_encode` gives them."""
    if isinstance(data, list):
        data = {"list": data}
    if not isinstance(data, dict):
        return data
    ((tag, body),) = data.items()
    match tag, body:
        case "int", str():
            return int(body, 16)
        case "float", str():
            return float.fromhex(body)
        case "bytes", str():
            return base64.b64decode(body, validate=True)
        case "scalar", [str(dtype), str(text)]:
            return _numbers(dtype, text)[0]
        case "left", None:
            return LEFT
        case "again", int():
            return Again(nodes[body])
        case "tuple", list():
            whole = tuple(_decode(item, nodes) for item in body)
            nodes.extend([whole] if whole else [])
            return whole
    place = len(nodes)
    nodes.append(None)
    node: Tree
    match tag, body:
        case "array", [str(dtype), "C" | "F" as order, list(shape), str(text)]:
            node = _numbers(dtype, text).reshape(shape, order=order).copy(order="K")
        case "random", [int(version), str(text), gauss]:
            node = Generator("Random", (version, tuple(_numbers("<u4", text).tolist()), gauss))
        case "generator", [str(kind), state] if kind in KINDS:
            node = Generator(kind, _decode(state, nodes))
        case "set", list():
            node = {_decode(item, nodes) for item in body}
        case "list", list():
            node = nodes[place] = []
            node.extend(_decode(item, nodes) for item in body)
        case "deque", [None | int() as length, list(items)]:
            node = nodes[place] = deque(maxlen=length)
            node.extend(_decode(item, nodes) for item in items)
        case "dict", list():
            node = nodes[place] = {}
            _decode_pairs(node, body, nodes)
        case "object", [str(name), list(pairs)]:
            node = nodes[place] = {}
            _decode_pairs(node, pairs, nodes)
            return Attributes(name, node)
        case _:
            raise ValueError(f"unknown part {tag!r}")
    nodes[place] = node
    return node


def _decode_pairs(node: dict[Any, Tree], pairs: list[Any], nodes: list[Tree]) -> None:
    for key, item in pairs:
        node[_decode(key, [])] = _decode(item, nodes)


def _numbers(dtype: str, text: str) -> Any:
    kind = np.dtype(dtype)
    if kind.kind not in NUMERIC:
        raise ValueError(f"no numbers: {dtype}")
    return np.frombuffer(base64.b64decode(text, validate=True), kind)
