"""An engine plug-in: each partition of one Slurm as an engine of its own, which may use half of every node."""

from __future__ import annotations

from headwater.compute.engines.slurm import client_of, options_of
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.work import Capacity, EngineFactory
from headwater.core.platform import Platform


class Half(SlurmEngine):
    """A partition of a Slurm."""

    def capacity(self) -> Capacity:
        """Return half of what the nodes have: the other half is the other partition's."""
        whole = super().capacity()
        return Capacity(cpus=whole.cpus / 2, memory_gib=whole.memory_gib / 2)


def _open(platform: Platform, partition: str) -> Half:
    settings = platform.settings
    root = settings.data_folder / f"{partition}-jobs"
    return Half(name=partition, root=root, store=platform.store, client=client_of(options_of(settings)), partition=partition)


MAIN = EngineFactory(name="main", open=lambda platform: _open(platform, "main"))
URGENT = EngineFactory(name="urgent", open=lambda platform: _open(platform, "urgent"))
