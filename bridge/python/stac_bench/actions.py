"""Actions as environments take them."""

from typing import Any

import numpy as np
from gymnasium import spaces


def in_space(actions: np.ndarray, space: spaces.Space[Any]) -> np.ndarray:
    """Numbers of the space's own type, as in training: whole where that type is, within the bounds.

    `actions` of a `Discrete` space count from 0, as networks do.
    """
    if isinstance(space, spaces.Discrete):
        return np.asarray(actions.astype(space.dtype) + space.start)
    assert isinstance(space, spaces.Box)
    if np.issubdtype(space.dtype, np.integer):
        actions = np.round(actions)
    return np.asarray(np.clip(actions.astype(space.dtype), space.low, space.high))
