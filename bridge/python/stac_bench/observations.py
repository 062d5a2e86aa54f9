"""Observations of any space as the rows of float32 that agents take, and back."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import (
    get_flattened_obs_dim,
    is_image_space,
    preprocess_obs,
)

#: A batch of observations as Stable-Baselines3 has them: a part per key of a dictionary.
Observations: TypeAlias = np.ndarray | dict[str, np.ndarray]


def concatenate(batches: Sequence[Observations]) -> Observations:
    """Several batches as one."""
    parts: dict[str, list[np.ndarray]] = {}
    arrays = []
    for batch in batches:
        if not isinstance(batch, dict):
            arrays.append(np.asarray(batch))
            continue
        for key, part in batch.items():
            parts.setdefault(key, []).append(part)
    if parts:
        return {key: np.concatenate(columns) for key, columns in parts.items()}
    return np.concatenate(arrays)


class ObservationCodec:
    """Encodes observations as Stable-Baselines3's `MlpPolicy` does before its first layer.

    Boxes are flattened, `Discrete` and `MultiDiscrete` become one-hot, the parts of a dictionary
    are concatenated. Images are divided by 255, unless `normalize_images` is false.
    """

    def __init__(self, space: spaces.Space[Any], normalize_images: bool = True) -> None:
        self.space, self.normalize_images = space, normalize_images
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
        #: Numbers per observation.
        self.dim = sum(get_flattened_obs_dim(part) for part in parts)
        #: Whether encoding is only flattening and a cast.
        self.plain = isinstance(space, spaces.Box) and not self._is_scaled()

    @property
    def divisor(self) -> int | None:
        """What bytes are divided by, if the numbers are such; a memory holds them as bytes."""
        parts = self.space.spaces.values() if isinstance(self.space, spaces.Dict) else [self.space]
        if not all(isinstance(part, spaces.Box) and part.dtype == np.uint8 for part in parts):
            return None
        scaled = {self.normalize_images and is_image_space(part) for part in parts}
        return None if len(scaled) > 1 else 255 if scaled == {True} else 1

    def _is_scaled(self) -> bool:
        return self.normalize_images and is_image_space(self.space)

    def rows(self, observation: Observations, single: bool = False) -> np.ndarray:
        """`n x dim` float32 from a batch of `n`, or from a `single` observation."""
        if isinstance(self.space, spaces.Dict):
            assert not isinstance(observation, np.ndarray)
            parts = [
                ObservationCodec(part, self.normalize_images).rows(observation[key], single)
                for key, part in self.space.spaces.items()
            ]
            return np.concatenate(parts, axis=1)
        array = np.asarray(observation)
        array = array[np.newaxis] if single else array
        if isinstance(self.space, spaces.Discrete):
            array = array.reshape(-1)
        tensor = preprocess_obs(th.as_tensor(array), self.space, self.normalize_images)
        assert isinstance(tensor, th.Tensor)
        return tensor.reshape(len(array), self.dim).numpy().astype(np.float32)

    def observations(self, rows: np.ndarray) -> Observations:
        """The batch of observations that `rows` (`n x dim`) encode."""
        space = self.space
        if isinstance(space, spaces.Dict):
            codecs = {
                key: ObservationCodec(part, self.normalize_images)
                for key, part in space.spaces.items()
            }
            ends = np.cumsum([codec.dim for codec in codecs.values()])[:-1]
            parts = np.split(rows, ends, axis=1)
            return {
                key: codec._array(part)
                for (key, codec), part in zip(codecs.items(), parts, strict=True)
            }
        return self._array(rows)

    def _array(self, rows: np.ndarray) -> np.ndarray:
        """The same for a space that is no dictionary."""
        space = self.space
        if isinstance(space, spaces.Discrete):
            choice: np.ndarray = rows.argmax(axis=1)
            return choice
        if isinstance(space, spaces.MultiDiscrete):
            blocks = np.split(rows, np.cumsum(space.nvec.ravel())[:-1], axis=1)
            choices: np.ndarray = np.stack([block.argmax(axis=1) for block in blocks], axis=1)
            return choices.reshape((len(rows), *space.nvec.shape))
        assert space.shape is not None
        scale = 255.0 if self._is_scaled() else 1.0
        scaled: np.ndarray = (rows * scale).reshape(len(rows), *space.shape)
        return scaled.astype(space.dtype)
