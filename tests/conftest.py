"""What tests stand on: a platform in a fresh folder, over SQLite and, where it is installed, a real PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest
from xdist.remote import Producer

from headwater.core import identity, platform, settings
from headwater.core.identity import Actor
from headwater.core.platform import Platform
from tests import kubernetes_apart, kubernetes_cluster, kubernetes_stand, ray_cluster, sharing
from tests import postgres as postgres_of_tests
from tests.postgres import Postgres

hypothesis.settings.register_profile("unhurried", deadline=None)  # a shared machine is sometimes slow
hypothesis.settings.load_profile("unhurried")

REPOSITORY = Path(__file__).resolve().parents[1]


def shared(name: str) -> Path:
    """Return a file of the optional data folder beside the repository, or skip the test."""
    path = REPOSITORY.parent / "shared" / name
    if not path.exists():
        pytest.skip(f"needs ../shared/{name}, which is not here")
    return path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest first where the suite runs in several processes."""
    if hasattr(config, "workerinput"):
        sharing.longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> sharing.Groups:
    """Say what stays together where the suite runs in several processes."""
    config.option.loadscopereorder = False
    return sharing.Groups(config, log)


@pytest.fixture(scope="session")
def ray_nodes() -> Iterator[ray_cluster.Cluster]:
    """Give a real Ray of a head and two nodes with accelerators, started for these tests."""
    made = ray_cluster.started()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def kubernetes_administrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[kubernetes_stand.Administrator]:
    """Give the cluster that KUBECONFIG names, where it can be reached, and otherwise one started for these tests."""
    with ExitStack() as ends:
        kubeconfig = kubernetes_stand.reachable()
        if kubeconfig is None:
            kubeconfig = ends.enter_context(kubernetes_apart.started(tmp_path_factory.mktemp("kubernetes")))
            patched = ends.enter_context(pytest.MonkeyPatch.context())
            patched.setenv("KUBE_TEST_IMAGE", kubernetes_cluster.IMAGE)
            patched.setenv("KUBE_TEST_BARE_IMAGE", kubernetes_cluster.BARE)
        administrator = kubernetes_stand.Administrator(kubeconfig)
        yield administrator
        administrator.close()


@pytest.fixture
def kubernetes(kubernetes_administrator: kubernetes_stand.Administrator, tmp_path: Path) -> Iterator[kubernetes_stand.Stand]:
    """Give a namespace of a Kubernetes, made for this test and removed after it."""
    folders = os.environ.get("KUBE_TEST_FOLDER")
    with kubernetes_administrator.stand(Path(folders) if folders else tmp_path) as stand:
        yield stand


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URL of a real PostgreSQL server, started for these tests."""
    server = Postgres()
    server.start()
    yield server.url
    server.stop()


@pytest.fixture
def new_database(postgres: str) -> str:
    """Give the URL of an empty PostgreSQL database of this test's own."""
    return postgres_of_tests.new_database(postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """Give each database in turn; empty means SQLite in the data folder."""
    return str(request.getfixturevalue("new_database")) if request.param == "postgresql" else ""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Platform]:
    """Give an open platform over SQLite, with its first administrator."""
    with platform.opened(settings.load(data_folder=tmp_path / "data", local_cpus=2, local_memory_gib=4)) as opened:
        opened.found()
        yield opened


@pytest.fixture
def any_site(tmp_path: Path, database_url: str) -> Iterator[Platform]:
    """Give an open platform over each database in turn, with its first administrator."""
    with platform.opened(
        settings.load(data_folder=tmp_path / "data", database_url=database_url, local_cpus=2, local_memory_gib=4)
    ) as opened:
        opened.found()
        yield opened


@pytest.fixture
def administrator(site: Platform) -> Actor:
    """Give the platform's first administrator."""
    with site.db.read() as connection:
        return identity.load_actor(connection, site.found(), now=site.clock.now())
