"""An engine plug-in: each partition of one Slurm as an engine of its own, which may use half of every node."""

from __future__ import annotations

from headwater.compute.engines.slurm import SlurmEngine, client_of
from headwater.compute.work import Capacity, EngineFactory
from headwater.core.platform import Platform


class Half(SlurmEngine):
    """A partition of a Slurm."""

    def capacity(self) -> Capacity:
        """Return half of what the nodes have: the other half is the other partition's."""
        whole = super().capacity()
        return Capacity(cpus=whole.cpus / 2, memory_gib=whole.memory_gib / 2)


class Main(Half):
    """The partition `main`."""

    name = "main"


class Urgent(Half):
    """The partition `urgent`."""

    name = "urgent"


def _open(kind: type[Half], platform: Platform) -> Half:
    settings = platform.settings
    return kind(root=settings.data_folder / f"{kind.name}-jobs", store=platform.store, client=client_of(settings), partition=kind.name)


MAIN = EngineFactory(name="main", open=lambda platform: _open(Main, platform))
URGENT = EngineFactory(name="urgent", open=lambda platform: _open(Urgent, platform))
