"""Which tests stay together in one process, and which go first, where the suite runs in several at once (`pytest -n 2`).

The tests of a file stay together, since they share what is started for it. So do all tests of a folder with one server for them, those
of one engine in the engine contract, and all of Ray, whose nodes have fixed addresses. What takes longest goes first, so that no
process is left with a long one at the end.
"""

from __future__ import annotations

import pytest
from xdist.scheduler import LoadScopeScheduling

FOLDERS = ("tests/browser", "tests/conformance", "tests/flow/framework")
RAY = "ray"
WITH_RAY = ("tests/flow/compute_engines/test_ray_engine.py", "tests/flow/projects/test_credit.py")
CONTRACT = "tests/contract/engines/test_engine_contract.py"
ENGINES = (RAY, "slurm", "kubernetes", "skypilot", "platform", "local")
LONGEST = (
    RAY,
    "tests/flow/compute/test_faults.py",
    "tests/flow/framework",
    "tests/flow/compute/test_live_and_twin.py",
    "tests/flow/compute/test_crash.py",
    f"{CONTRACT} slurm",
    "tests/browser",
    "tests/flow/compute/test_leadership.py",
    "tests/flow/compute_engines/test_slurm_engine.py",
    "tests/flow/compute_engines/test_skypilot_engine.py",
)


def group_of(nodeid: str) -> str:
    """Give the name of what a test stays together with."""
    file, _, test = nodeid.partition("::")
    engine = next((one for one in ENGINES if test.partition("[")[2].startswith(one)), "") if file == CONTRACT else ""
    if engine == RAY or file in WITH_RAY:
        return RAY
    folder = next((one for one in FOLDERS if file.startswith(f"{one}/")), "")
    return folder or f"{file} {engine}".strip()


def longest_first(items: list[pytest.Item]) -> None:
    """Put the tests of the longest groups first; the others stay in their order."""
    places = {group: place for place, group in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(group_of(item.nodeid), len(places)))


class Groups(LoadScopeScheduling):
    """Gives whole groups of tests to processes, in the order in which they were collected."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
