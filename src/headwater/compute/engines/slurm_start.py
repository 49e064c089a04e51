"""The first act of an attempt on a Slurm node: `python -I -S slurm_start.py FOLDER SHARE_S`. Standard library only.

FOLDER is an attempt's, or an array's whose `index.json` names the attempt of each index; its elements take further attempts of the
array for SHARE_S (see `slurm_turns.py`). It finds which accelerators are this job's own and shows them to it, then is the runner
(see `runner.py`). Where Slurm gives indices (`gpu` with device files) those hold. Other kinds of accelerator it only counts; for them the
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


def environment(gres: dict[str, int]) -> dict[str, str]:
    """Return what a job's environment gets here: Slurm's own variables, for `srun` inside the job, and its devices."""
    from headwater.compute.engines.devices import visible_devices

    told = {name: value for name, value in os.environ.items() if name.startswith(("SLURM_", "SLURMD_"))}
    return told | visible_devices(own_devices(gres))


def run_turns(array: str, share_s: float) -> None:
    """Run this element's own attempt, and others of its array while they end well and it is young."""
    from headwater.compute.engines import plain_json, slurm_turns, watch

    keys, own = plain_json.read(os.path.join(array, "index.json"))["keys"], int(os.environ["SLURM_ARRAY_TASK_ID"])
    root = os.path.dirname(os.path.dirname(array))
    more: dict[str, str] = {}
    for index in slurm_turns.turns(array, len(keys), own, f"{os.environ['SLURM_ARRAY_JOB_ID']}_{own}", share_s):
        folder = os.path.join(root, keys[index])
        more = more or environment(_gres(folder))  # all attempts of an array ask for the same
        if index != own and not os.path.exists(os.path.join(folder, "work.json")):
            continue  # it was forgotten
        if watch.run(folder, None, more | {"SLURM_ARRAY_TASK_ID": str(index)}, flush=False) != "succeeded":
            return  # a node on which things fail must not be given more of them


def _gres(folder: str) -> dict[str, int]:
    from headwater.compute.engines import plain_json

    gres: dict[str, int] = plain_json.read(os.path.join(folder, "work.json"))["gres"]
    return gres


def main(folder: str, share_s: float) -> int:
    """Show the job its devices and be its runner."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(here))))
    if "SLURM_ARRAY_TASK_ID" in os.environ:
        run_turns(folder, share_s)
        return 0
    from headwater.compute.engines import watch

    return watch.main(folder, None, environment(_gres(folder)))


if __name__ == "__main__":
    os._exit(main(sys.argv[1], float(sys.argv[2])))
