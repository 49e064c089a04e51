"""A local engine in a fresh folder for each test, with nothing left behind; and a real Slurm for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from local_jobs import Jobs, processes_of
from tests import slurm
from tests.slurm import Cluster


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    """Give a local engine; whatever a test leaves running is ended."""
    made = Jobs(tmp_path)
    yield made
    for key in made.engine.sweep(()):
        made.ended(key)
    made.engine.close()
    last_s = time.monotonic() + 5
    while (left := processes_of(str(tmp_path))) and time.monotonic() < last_s:
        time.sleep(0.01)
    assert left == []


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a Slurm without accounting."""
    made = slurm.started(tmp_path_factory.mktemp("slurm"))
    yield made
    made.stop()


@pytest.fixture(scope="session")
def accounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a Slurm with accounting."""
    made = slurm.started(tmp_path_factory.mktemp("accounting"), accounting=True)
    yield made
    made.stop()
