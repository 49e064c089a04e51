"""What several files of these tests start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import slurm
from tests.slurm import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a real Slurm, started for a file of tests."""
    made = slurm.started(tmp_path_factory.mktemp("slurm"))
    yield made
    made.stop()
