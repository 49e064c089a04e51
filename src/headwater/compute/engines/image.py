"""An attempt that runs in an image of its own, elsewhere: what is written for its first act there (see `image_start.py`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.compute.engines import attempt
from headwater.compute.engines.local import GRACE_S, job_environment
from headwater.compute.work import Work

START = ("python3", "-P", "-m", "headwater.compute.engines.image_start")
"""What the image runs, with the attempt's folder after it."""


def write_work(folder: Path, work: Work, argv: Sequence[str]) -> None:
    """Write `work.json` for a runner in an image. The OSError of a disk that refuses goes through."""
    told = {
        "argv": list(argv),
        "step": not work.argv,
        "accelerators": any(work.resources.accelerators.values()),
        "environment": job_environment(work, folder),
        "wall_s": work.resources.wall_s,
        "cpu_s": work.resources.cpu_s,
        "memory_gib": work.resources.memory_gib,
        "grace_s": GRACE_S,
        "bell": "",
    }
    attempt.write_json(folder / "work.json", told)
