"""What the engine contract stands on: every engine, opened as the platform opens it, and a plug-in with steps to run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_bench import Bench
from tests import slurm
from tests.kubernetes_stand import Stand
from tests.skypilot import SkyServer
from tests.slurm import Cluster

from headwater.compute import checkpoints
from headwater.compute.engines import sandbox
from headwater.compute.work import EngineFactory
from headwater.core import platform, registry, settings
from headwater.core.errors import Unavailable
from headwater.core.registry import Family

ENGINES: Family[EngineFactory] = Family("engines", EngineFactory)
PLUGIN = Path(__file__).parent / "plugin"


@pytest.fixture(scope="module")  # other suites must not find it
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Install a plug-in with the contract's steps, and give the search path on which it is found."""
    installed = tmp_path_factory.mktemp("installed")
    about = installed / "engine_contract-1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: engine-contract\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[headwater.steps]\n"
        "contract.engine = engine_contract_steps:on_an_engine\n"
        "contract.platform = engine_contract_steps:in_the_platform\n"
    )
    added = [str(installed), str(PLUGIN)]
    sys.path[:0] = added
    registry._entry_points.cache_clear()
    yield os.pathsep.join(added)
    for path in added:
        sys.path.remove(path)
    registry._entry_points.cache_clear()


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a real Slurm of three nodes, started for these tests."""
    made = slurm.started(tmp_path_factory.mktemp("slurm"))
    yield made
    made.stop()


@pytest.fixture
def skypilot(tmp_path: Path) -> Iterator[str]:
    """Give the settings of a platform on the test's SkyPilot, whose bucket is the data folder."""
    (tmp_path / "data").mkdir()
    server = SkyServer(tmp_path / "data")
    yield server.settings()
    server.stop()


@pytest.fixture(scope="session")
def accounting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Give a real Slurm with accounting, started for these tests."""
    made = slurm.started(tmp_path_factory.mktemp("accounting"), accounting=True)
    yield made
    made.stop()


def shown_to_pods(folder: Path, plugin: str) -> dict[str, str]:
    """Put the plug-in on the volume, and give the environment by which a pod finds it: it sees its job's folder for checkpoints alone."""
    for path in plugin.split(os.pathsep):
        shutil.copytree(path, folder, dirs_exist_ok=True)
    return {"PYTHONPATH": str(folder), checkpoints.VARIABLE: str(folder)}


@pytest.fixture(
    params=[
        "local",
        "local-bubblewrap",
        "platform",
        "slurm-rest",
        "slurm-commands",
        "slurm-rest-accounting",
        "ray",
        "kubernetes",
        "skypilot",
    ]
)
def bench(request: pytest.FixtureRequest, tmp_path: Path, plugin: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """Give each engine in turn: the local one with jobs shut in too, Slurm's by both of its ways, and with accounting."""
    name, way, accounts = [*request.param.split("-"), "", ""][:3]
    data, environment = tmp_path / "data", {"PYTHONPATH": plugin}
    if way == "bubblewrap":
        monkeypatch.setenv("HEADWATER_ISOLATION", way)
        try:
            sandbox.check()
        except Unavailable as error:
            pytest.skip(str(error))
    elif name == "ray":
        data.mkdir()
        (data / settings.FILE).write_text(request.getfixturevalue("ray_nodes").settings())
    elif name == "kubernetes":
        stand: Stand = request.getfixturevalue(name)
        environment = shown_to_pods(stand.folder / "plugin", plugin)
        data.mkdir()
        (data / settings.FILE).write_text(stand.settings())
    elif name == "skypilot":
        (data / settings.FILE).write_text(request.getfixturevalue(name))
    elif way:
        cluster: Cluster = request.getfixturevalue(accounts or "cluster")
        monkeypatch.setenv("SLURM_CONF", str(cluster.conf))
        data.mkdir()
        (data / settings.FILE).write_text(cluster.settings(way))
    factory = ENGINES.get(name)
    with platform.opened(settings.load(data_folder=data, local_cpus=2, local_memory_gib=4)) as site:
        site.found()
        made = Bench(name=name, platform=site, environment=environment, open=lambda: factory(site), engine=factory(site))
        yield made
        made.engine.sweep(())
        for attempt in made.engine.folder("any").parent.glob("*/"):
            (attempt / "go").touch()
        made.engine.close()
