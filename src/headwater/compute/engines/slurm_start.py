"""The first act of an attempt on a Slurm node: `python -I -S slurm_start.py FOLDER`. Standard library only.

FOLDER is an attempt's, or an array's whose `index.json` names the attempt of each index. It finds which accelerators are this
job's own and shows them to it, then is the runner (see `runner.py`). Where
Slurm gives indices (`gpu` with device files) those hold. Other kinds of accelerator it only counts; for them the
indices are claimed by locks in a folder of this node, held until the last process of the job is gone.
"""

from __future__ import annotations

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


def attempt_in(folder: str) -> str:
    """Return the attempt's folder, given it or an array's."""
    if "SLURM_ARRAY_TASK_ID" not in os.environ:
        return folder
    from headwater.compute.engines import plain_json

    key = plain_json.read(os.path.join(folder, "index.json"))["keys"][int(os.environ["SLURM_ARRAY_TASK_ID"])]
    return os.path.join(os.path.dirname(os.path.dirname(folder)), key)


def main(folder: str) -> int:
    """Show the job its devices and be its runner."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    from headwater.compute.engines import plain_json, watch
    from headwater.compute.engines.devices import visible_devices

    folder = attempt_in(folder)
    gres = plain_json.read(os.path.join(folder, "work.json"))["gres"]
    told = {name: value for name, value in os.environ.items() if name.startswith(("SLURM_", "SLURMD_"))}  # for srun inside the job
    return watch.main(folder, None, told | visible_devices(own_devices(gres)))


if __name__ == "__main__":
    os._exit(main(sys.argv[1]))
