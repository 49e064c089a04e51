"""The platform's own past, read as a trace and replayed by the twin; and how well it foretold its own run times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.compute.dispatcher import Dispatcher
from headwater.compute.history import trace_of_platform
from headwater.compute.scheduler.compiled import interpreted
from headwater.compute.scheduler.policy import load
from headwater.compute.twin.replay import compare
from headwater.compute.twin.sites import one_site
from headwater.compute.twin.traces import read_trace
from headwater.core.errors import NotFound
from headwater.core.platform import Platform
from tests.flow.cli.test_commands import headwater
from tests.flow.compute.graphs import command, ended, submit


@pytest.fixture
def past(any_site: Platform) -> Platform:
    dispatcher = Dispatcher(any_site)
    dispatcher.start()
    graph = {
        "a": command("sleep", "0.5", cpus=2),
        "b": command("sleep", "0.5", cpus=2),
        "c": command("sleep", "0.5", cpus=1, needs=("a", "b")),
        "half": command("true", cpus=0.5),
        "bad": command("sh", "-c", "exit 1", cpus=1),
    }
    ended(any_site, submit(any_site, graph))
    dispatcher.stop()
    return any_site


def test_it_tells_when_each_job_could_have_run_and_for_how_long_it_did(past: Platform) -> None:
    with past.db.read() as connection:
        trace = trace_of_platform(connection, name="past")
    rows = {str(name).rpartition(".")[2]: row for row, name in enumerate(trace.job_id)}
    assert set(rows) == {"a", "b", "c"}
    assert [trace.units[rows[name]] for name in "abc"] == [2, 2, 1]
    assert all(0.4 < trace.duration_s[rows[name]] < 5 for name in "abc")
    a, b, c = (trace.submit_s[rows[name]] for name in "abc")
    assert a == b == 0
    assert c >= trace.duration_s[rows["a"]] + trace.duration_s[rows["b"]], "c could not run before both had ended"
    assert trace.wait_s[rows["b"]] >= trace.duration_s[rows["a"]] or trace.wait_s[rows["a"]] >= trace.duration_s[rows["b"]]
    assert set(trace.tenant) == {"city"}
    assert {(fault.code, fault.count) for fault in trace.faults} == {("fractional_units", 1), ("unknown_duration", 1)}


def test_the_twin_replays_a_data_folder(past: Platform) -> None:
    if past.settings.database_url:
        pytest.skip("a data folder's own database is meant")
    folder = past.settings.data_folder
    with interpreted():
        report = compare(read_trace(Path(f"ledger:{folder}")), one_site(2, 2), [load("fifo"), load("easy")])
    assert (report.jobs, report.rows_read, [row.measured.policy for row in report.rows]) == (3, 5, ["fifo", "easy"])


def test_a_folder_without_a_platform_is_not_found_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is no platform"):
        read_trace(Path(f"ledger:{tmp_path / 'none'}"))
    assert not (tmp_path / "none").exists()


def test_the_command_line_says_how_well_run_times_were_foretold(site: Platform) -> None:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    for _ in range(3):
        ended(site, submit(site, {"same": command("sleep", "0.2")}))
    dispatcher.stop()
    shown = headwater("compute", "prediction", "--data", str(site.settings.data_folder), "--json")
    assert shown.returncode == 0, shown.stderr
    told = json.loads(shown.stdout)
    assert (told["jobs"], told["predicted"]) == (3, 2), "of the first, nothing had ended that could tell"
    assert told["ratio_p10"] <= told["median_ratio"] <= told["ratio_p90"]
