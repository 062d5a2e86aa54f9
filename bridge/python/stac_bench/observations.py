"""Observations of any space as the rows of float32 that agents take, and back."""

from typing import Any

import numpy as np
import torch as th
from gymnasium import spaces
from stable_baselines3.common.preprocessing import (
    get_flattened_obs_dim,
    is_image_space,
    preprocess_obs,
)


class ObservationCodec:
    """What Stable-Baselines3's `MlpPolicy` does to observations before its first layer.

    Boxes are flattened, `Discrete` and `MultiDiscrete` become one-hot, dictionaries are laid one
    key after the other. Images are divided by 255, unless `normalize_images` is false.
    """

    def __init__(self, space: spaces.Space[Any], normalize_images: bool = True) -> None:
        self.space, self.normalize_images = space, normalize_images
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else [space]
        #: Numbers per observation.
        self.dim = sum(get_flattened_obs_dim(part) for part in parts)
        #: Whether flattening and a cast are all it takes.
        self.plain = isinstance(space, spaces.Box) and not self._is_scaled()

    def _is_scaled(self) -> bool:
        return self.normalize_images and is_image_space(self.space)

    def rows(self, observation: Any, single: bool = False) -> np.ndarray:
        """`n x dim` float32 from a batch of `n`, or from a `single` observation."""
        if isinstance(self.space, spaces.Dict):
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

    def observations(self, rows: np.ndarray) -> Any:
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
                key: codec.observations(part)
                for (key, codec), part in zip(codecs.items(), parts, strict=True)
            }
        if isinstance(space, spaces.Discrete):
            return rows.argmax(axis=1)
        if isinstance(space, spaces.MultiDiscrete):
            blocks = np.split(rows, np.cumsum(space.nvec.ravel())[:-1], axis=1)
            choices = np.stack([block.argmax(axis=1) for block in blocks], axis=1)
            return choices.reshape(len(rows), *space.shape)
        scale = 255.0 if self._is_scaled() else 1.0
        return (rows * scale).reshape(len(rows), *space.shape).astype(space.dtype)
