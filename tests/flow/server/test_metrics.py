"""Figures for Prometheus: what the database says now, and a dashboard whose every query names a figure that is there."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from headwater.compute import jobs, pool
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.figures import Times
from headwater.compute.jobs import NewJob, Spec
from headwater.compute.work import Capacity
from headwater.core.identity import ROOT, SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from headwater.server.app import create_app

DASHBOARD = Path(__file__).parents[3] / "docs" / "dashboards" / "headwater.json"


def submitted(site: Platform, *names: str) -> None:
    spec = Spec(argv=("true",), params={}, inputs={}, resources=Resources(cpus=2))
    new = [NewJob(id=f"g.{name}", name=name, spec=spec, engine="local") for name in names]
    site.db.write(lambda connection: jobs.submit(connection, "g", new, organisation=ROOT, actor=SYSTEM, at=site.clock.now()))


def read(client: TestClient) -> dict[str, dict[tuple[str, ...], float]]:
    """Return every sample by its name and the values of its labels, in the order of the labels' names."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


def test_jobs_are_counted_as_they_are_at_each_scrape(site: Platform, admin: TestClient) -> None:
    submitted(site, "a", "b")
    told = read(admin)
    assert told["headwater_jobs"] == {("local", "queued"): 2}
    assert told["headwater_queue_jobs"] == {(ROOT,): 2}
    with site.db.read() as connection:
        one = jobs.get(connection, "g.a")
    site.db.write(lambda connection: jobs.move(connection, one, jobs.State.STARTING, at=site.clock.now(), actor=SYSTEM, attempt=1))
    site.db.write(lambda connection: pool.note(connection, {"local": Capacity(cpus=8, memory_gib=4)}, at=site.clock.now()))
    told = read(admin)
    assert told["headwater_jobs"] == {("local", "queued"): 1, ("local", "starting"): 1}
    assert told["headwater_engine_held"]["local", "cpu"] == 2
    assert told["headwater_engine_capacity"]["local", "cpu"] == 8
    assert told["headwater_ledger_entries"][()] > 2


def test_every_query_of_the_dashboard_names_figures_that_a_server_gives(site: Platform, token: object) -> None:
    dispatcher = Dispatcher(site, engines={})
    client = TestClient(create_app(site, dispatcher=dispatcher), headers={"authorization": f"Bearer {token()}"})  # type: ignore[operator]
    submitted(site, "a")
    text = client.get("/metrics").text
    silent = {
        "headwater_jobs_ended_badly", "headwater_engine_held", "headwater_engine_capacity", "headwater_domestic_share",
        "headwater_site_standing",
    }  # fmt: skip
    counters = {f"headwater_usage_{name}_total" for name in ("accelerator_seconds", "core_seconds", "energy_kwh", "charge_fen")}
    """Figures without a sample yet."""
    names = set(read(client)) | silent | counters
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    used = {
        name for panel in panels for target in panel["targets"] for name in re.findall(r"(?:headwater|process)_[a-z_]+", target["expr"])
    }
    assert len(used) >= 10
    assert used <= names
    for name in silent:
        assert f"# TYPE {name} gauge" in text
    for name in counters:
        assert f"# TYPE {name} counter" in text
    dispatcher.stop()


def test_times_are_counted_by_bucket_up_to_each_bound() -> None:
    times = Times()
    for took_s in (0.0005, 0.003, 0.003, 99.0):
        times.note(took_s)
    buckets, total = times.buckets()
    counts = dict(buckets)
    assert (counts["0.001"], counts["0.005"], counts["5.0"], counts["+Inf"]) == (1, 3, 3, 4)
    assert total == 99.0065
