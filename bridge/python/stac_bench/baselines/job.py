"""What is to be trained."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from stac_bench.baselines.equal import TABLE, Equal, Refused, equal


@dataclass(frozen=True)
class Job:
    """What standard input says."""

    algo: str
    env: str
    seed: int
    folder: Path
    threads: int
    env_import: list[str]
    settings: dict[str, Any]

    @classmethod
    def read(cls, text: str) -> "Job":
        """Raises `Refused` for what is not as it must be."""
        try:
            said = json.loads(text)
            job = cls(**{**said, "folder": Path(said["folder"])})
        except (ValueError, TypeError, KeyError) as error:
            names = ", ".join(field.name for field in fields(cls))
            raise Refused(
                f"standard input must be a JSON object of {names}: {line(error)}"
            ) from None
        if job.algo not in TABLE:
            raise Refused(f"no baseline {job.algo}: there are {', '.join(TABLE)}")
        if not 0 <= job.seed < 2**32:
            raise Refused(f"`seed` is {job.seed}; Stable-Baselines3 takes 0 to {2**32 - 1}")
        return job

    def equal(self) -> Equal:
        """What RL Zoo is given. Raises `Refused`."""
        return equal(self.algo, self.settings)


def line(error: BaseException) -> str:
    """An error in one line."""
    said = " ".join(str(error).split())
    name = type(error).__name__
    return f"{name}: {said}" if said else name
