"""The driver of a gang on Ray: `python -I -m headwater.compute.engines.ray_gang FOLDER`, which Ray runs on its head node.

It has Ray set aside one bundle on each node of the gang, all or none, claims the accelerators of each, and runs the runner (see
`runner.py`) on the first. The job is told its nodes, and starts its own actors on them through the placement group:

- `HW_NODES`: addresses, the first is where the job runs; `HW_NODE_DEVICES`: indices on each, such as `0,1,2;0,1`
- `HW_PLACEMENT_GROUP`: name of the group, in the namespace `headwater` of the cluster at `RAY_ADDRESS`

The group goes with this process, however it ends. A gang that loses a node, or whose bundles are not free in time, is lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.compute.engines.devices import visible_devices
from headwater.compute.engines.ray_start import LOST, own_devices

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

START = Path(__file__).with_name("ray_start.py")
NAMESPACE = "headwater"
LOOK_S = 0.5
TIMEOUT_VARIABLE, TIMEOUT_S = "RAY_JOB_START_TIMEOUT_SECONDS", 900.0
"""Ray's own variable for how long a job may wait for its start, and what it is by default."""
TOLD_OF_RAY = ("RAY_ADDRESS", "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


class Member:
    """One bundle's actor: it holds the bundle's accelerators, and the first runs the runner."""

    def __init__(self) -> None:
        self._locks: list[int] = []

    def claim(self, asked: dict[str, int], most: dict[str, int]) -> tuple[str, list[int] | None]:
        """Return this node's address, and the indices of the accelerators that are the bundle's from now on; None: not free in time."""
        import ray

        held = own_devices(asked, most)
        self._locks = list(held.values()) if held is not None else []
        return ray.util.get_node_ip_address(), None if held is None else list(held)

    def stay(self) -> None:
        """Never return: this call ends when the node is lost."""
        threading.Event().wait()

    def run(self, folder: str) -> int:
        """Run the runner to its end and return the status of what started it."""
        return subprocess.run([sys.executable, "-I", "-S", str(START), folder], pass_fds=self._locks, check=False).returncode


def main(folder: Path) -> int:
    """Run a gang's attempt to its end and return the exit status: 0 where the runner ran."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    work = json.loads((folder / "work.json").read_text("utf-8"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(LOST))
    ray.init(namespace=NAMESPACE, log_to_driver=False)
    group = placement_group(work["gang"]["bundles"], strategy=work["gang"]["strategy"], name=work["gang"]["name"])
    try:
        return LOST if not came(group, folder) else lead(group, work, folder)
    finally:
        remove_placement_group(group)


def came(group: PlacementGroup, folder: Path) -> bool:
    """Wait for the bundles and tell whether they are there: not where that takes too long, or the attempt was ended meanwhile."""
    wait_s = float(os.environ.get(TIMEOUT_VARIABLE) or TIMEOUT_S)
    last_try_s = time.monotonic() + wait_s
    while not group.wait(LOOK_S):
        if (folder / "exit.json").exists() or not (folder / "work.json").exists():
            return False
        if time.monotonic() > last_try_s:
            print(f"The nodes of the gang were not free together within {wait_s:g} s.", flush=True)  # noqa: T201 - to Ray's log
            return False
    return True


def lead(group: PlacementGroup, work: dict[str, Any], folder: Path) -> int:
    """Claim accelerators on every node, tell the job, and wait for its runner or for the loss of a member."""
    import ray
    from ray.exceptions import RayError
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    actor = ray.remote(num_cpus=0, max_concurrency=2)(Member)
    members = [
        actor.options(scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)).remote()
        for index in range(group.bundle_count)
    ]
    try:
        asked = [{name: int(bundle[name]) for name in work["most"]} for bundle in work["gang"]["bundles"]]
        claims = ray.get([member.claim.remote(one, work["most"]) for member, one in zip(members, asked, strict=True)])
        if any(indices is None for _, indices in claims):
            return LOST
        tell(work, claims, folder)
        running = members[0].run.remote(str(folder))
        ready, _ = ray.wait([running, *(member.stay.remote() for member in members[1:])], num_returns=1)
        return int(ray.get(ready[0]) or 0)
    except RayError as error:
        print(f"A node of the gang was lost: {error}", flush=True)  # noqa: T201 - to Ray's log
        return LOST


def tell(work: dict[str, Any], claims: Sequence[tuple[str, list[int]]], folder: Path) -> None:
    """Write the gang's nodes into the job's environment."""
    devices: dict[str, list[int]] = {}
    for address, indices in claims:
        devices.setdefault(address, []).extend(indices)
    work["environment"] |= visible_devices(sorted(devices[claims[0][0]])) | {
        "HW_NODES": ",".join(devices),
        "HW_NODE_DEVICES": ";".join(",".join(map(str, sorted(indices))) for indices in devices.values()),
        "HW_PLACEMENT_GROUP": work["gang"]["name"],
        **_of_ray(os.environ),
    }
    part = folder / "work.json.part"
    part.write_text(json.dumps(work), encoding="utf-8")
    part.replace(folder / "work.json")


def _of_ray(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: environment[name] for name in TOLD_OF_RAY if name in environment}


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
