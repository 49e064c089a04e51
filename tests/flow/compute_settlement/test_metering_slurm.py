"""A job on a real Slurm is metered from Slurm's side: the wall time of its own runner, and the accelerators that it was given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.compute import jobs
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.engines.slurm_engine import SlurmEngine
from headwater.compute.engines.slurm_rest import RestClient
from headwater.compute.engines.slurm_users import Tokens
from headwater.compute.jobs import NewJob, Spec, State
from headwater.compute.settlement import ratecards, records
from headwater.compute.settlement.periods import month_of
from headwater.compute.settlement.ratecards import Card
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from tests import slurm
from tests.flow.compute.graphs import ended
from tests.slurm import Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    made = slurm.started(tmp_path_factory.mktemp("slurm"))
    yield made
    made.stop()


def test_a_job_on_slurm_is_charged_for_what_it_held_while_it_ran(cluster: Cluster, site: Platform, tmp_path: Path) -> None:
    client = RestClient(cluster.url, Tokens("root", file=cluster.token_file))
    engine = SlurmEngine(root=tmp_path / "jobs", store=site.store, client=client, partition="main")
    card = Card.model_validate({"accelerator_fen_per_h": {"ascend910b": "3600000"}})
    site.db.write(lambda connection: ratecards.put(connection, "slurm", card, actor=SYSTEM, at=site.clock.now()))
    asked = Resources(cpus=1, memory_gib=0.1, accelerators={"ascend910b": 2}, wall_s=60)
    new = NewJob(id="g.train", name="train", spec=Spec(argv=("sleep", "1"), params={}, inputs={}, resources=asked), engine="slurm")
    site.db.write(lambda connection: jobs.submit(connection, "g", [new], organisation="city", actor=SYSTEM, at=site.clock.now()))
    dispatcher = Dispatcher(site, engines={"slurm": engine})
    dispatcher.start()
    done = ended(site, "g")["train"]
    dispatcher.stop()
    with site.db.read() as connection:
        (made,) = records.of_site(connection, "slurm", month_of(site.clock.now()))
    assert (done.state, made.measured_by) == (State.DONE, "engine")
    assert done.usage is not None
    wall_s = done.usage["wall_s"]
    assert 1.0 <= wall_s < 20
    assert made.accelerator_s == made.domestic_accelerator_s == pytest.approx(2 * wall_s)
    assert made.charge_fen is not None
    assert abs(made.charge_fen - 2 * 1000 * wall_s) < 0.501, "3,600,000 fen an hour are 1,000 a second, to the nearest fen"
