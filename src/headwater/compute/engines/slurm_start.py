"""The first act of an attempt on a Slurm node: `python -I -S slurm_start.py FOLDER`. Standard library only.

It finds which accelerators are this job's own and shows them to it, then becomes the runner (see `runner.py`). Where
Slurm gives indices (`gpu` with device files) those hold. Other kinds of accelerator it only counts; for them the
indices are claimed by locks in a folder of this node, held until the last process of the job is gone.
"""

from __future__ import annotations

import json
import os
import sys

GIVEN = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")


def given(count: int) -> list[int]:
    """Return the indices that Slurm tells, such as `0,2-3`, where there are as many as were asked for."""
    for name in GIVEN:
        indices: list[int] = []
        for part in os.environ.get(name, "").split(","):
            first, _, last = part.partition("-")
            if first.isdigit():
                indices += range(int(first), int(last or first) + 1)
        if len(indices) == count:
            return indices
    return []


def own_devices(gres: dict[str, int]) -> list[int]:
    """Return the indices of this job's accelerators, of every kind that it asked for."""
    from headwater.compute.engines.devices import claimed

    node = os.environ.get("SLURMD_NODENAME", "node")
    found: list[int] = []
    for kind, count in sorted(gres.items()):
        found += (given(count) if kind.startswith("gpu") else []) or list(claimed(node, kind, count))
    return found


def main(folder: str) -> None:
    """Write the devices into `work.json` and become the runner."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    from headwater.compute.engines.devices import visible_devices

    path = os.path.join(folder, "work.json")
    with open(path, encoding="utf-8") as file:
        work = json.load(file)
    told = {name: value for name, value in os.environ.items() if name.startswith(("SLURM_", "SLURMD_"))}  # for srun inside the job
    work["environment"] |= told | visible_devices(own_devices(work["gres"]))
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        json.dump(work, file)
    os.rename(f"{path}.part", path)
    os.execv(sys.executable, [sys.executable, "-I", "-S", os.path.join(here, "runner.py"), folder])  # noqa: S606 - a program and its arguments, no shell


if __name__ == "__main__":
    main(sys.argv[1])
