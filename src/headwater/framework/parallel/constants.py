"""The shipped constants of the cost model, read from `calibration.toml`, with where they came from."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from headwater.framework.parallel.times import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipped:
    """Constants, the interval, and the baseline's constants."""

    calibration: Calibration
    spread: float
    """Half width of the 80 % interval, as a difference of logarithms."""
    utilisation: dict[str, float]
    """Part of the peak that the constant-utilisation baseline takes, by number format."""
    provenance: str


@cache
def shipped() -> Shipped:
    """Return the constants that come with the package."""
    text = files("headwater").joinpath("framework", "parallel", "calibration.toml").read_text(encoding="utf-8")
    told = tomllib.loads(text)
    return Shipped(
        calibration=Calibration(**told["constants"]),
        spread=float(told["interval"]["spread"]),
        utilisation={name: float(value) for name, value in told["baseline"].items()},
        provenance=told["provenance"],
    )
