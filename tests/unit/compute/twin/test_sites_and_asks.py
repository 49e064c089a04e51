"""Sites of a catalogue file become rows with all their facts, questions change them, and what jobs ask is read or refused row by row."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from headwater.compute.catalogue.sites import CAPITAL
from headwater.compute.twin.asks import Ask
from headwater.compute.twin.commands import app
from headwater.compute.twin.rows import RawJob, build_trace
from headwater.compute.twin.sites import Federation, read_sites, shapes_for
from headwater.compute.twin.trace import FaultBook
from headwater.compute.twin.traces import read_trace
from headwater.compute.twin.whatif import WhatIf, changed_sites, outages
from headwater.core.errors import BadInput, NotFound
from headwater.core.output import OUTPUT

BEGINS = datetime(2026, 12, 6, 6, tzinfo=timezone(timedelta(hours=8)))


@pytest.fixture
def capital() -> Federation:
    return read_sites(CAPITAL, silos=False, begins=BEGINS)


def test_every_pool_of_the_example_is_a_row_with_its_own_chip_price_and_power(capital):
    rows = {row.name: row for row in capital.sites}
    assert len(rows) == 16
    h20 = rows["beijing-haidian/h20"]
    assert (h20.site, h20.chip, h20.units, h20.fen_per_unit_h, h20.watts_per_unit) == (
        "beijing-haidian",
        "nvidia/h20/sxm5-96gb",
        128,
        700,
        400,
    )
    assert h20.residency == {"cn", "beijing", "government"}
    assert h20.kw_per_unit == pytest.approx(0.4 * 1.35)


def test_every_row_of_the_example_states_what_a_policy_may_weigh_but_the_clouds_contract(capital):
    silent = {
        row.name for row in capital.sites if row.kw_per_unit is None or row.fen_per_unit_h is None or row.location_kgco2_per_kwh is None
    }
    assert silent == set()
    assert {row.site for row in capital.sites if row.market_kgco2_per_kwh is None} == {"cloud-north"}
    by_contract = {shape.name: shape.kgco2_per_unit_h for shape in shapes_for(replace(capital, carbon="market"))}
    assert by_contract["cloud-north/a10"] is None


def test_a_chip_whose_power_nobody_read_has_none(tmp_path):
    text = re.sub(r"  watts_per_chip = .*\n", "", CAPITAL.read_text("utf-8"))
    file = tmp_path / "silent.toml"
    file.write_text(text, "utf-8")
    rows = {row.name: row for row in read_sites(file, silos=False).sites}
    assert rows["beijing-yizhuang/dcu"].kw_per_unit is None
    assert rows["beijing-haidian/h20"].watts_per_unit == 400


def test_the_scheduler_is_told_the_price_of_each_hour_of_the_traces_clock(capital):
    """The trace begins at six: the cheap band ends an hour later."""
    h20 = next(shape for shape in shapes_for(capital) if shape.name == "beijing-haidian/h20")
    assert h20.fen_per_unit_h is not None
    assert h20.fen_per_unit_h[0] == pytest.approx(700 + 0.54 * 38)
    assert h20.fen_per_unit_h[1] == pytest.approx(700 + 0.54 * 78)
    assert h20.fen_per_unit_h[17] == pytest.approx(700 + 0.54 * 38)  # eleven at night


def test_the_scheduler_is_told_maintenance_and_the_way_that_data_comes(capital):
    h20 = next(shape for shape in shapes_for(capital) if shape.name == "beijing-haidian/h20")
    (window,) = h20.windows
    assert (window.from_s, window.to_s, window.queue) == (-6 * 3600.0, 2 * 3600.0, None)
    ways = {way.place: way for way in h20.inbound}
    assert ways["beijing-yizhuang"].gib_per_s == pytest.approx(400e9 / 8 / 2**30)
    assert (ways["beijing-yizhuang"].fen_per_gib, ways["cloud-north"].fen_per_gib) == (0, 50)
    assert "beijing-haidian" not in ways


def test_with_silos_every_pool_of_a_site_is_in_its_lane():
    apart = read_sites(CAPITAL, silos=True)
    assert {row.lane for row in apart.rows("beijing-haidian")} == {0}
    assert len(apart.pools) == 7


def test_a_link_can_be_made_widened_and_cut_in_a_question(capital):
    made = changed_sites(capital, WhatIf(link=("cloud-north:shanxi-datong=40",)))
    assert made.gib_per_s("shanxi-datong", "cloud-north") == pytest.approx(40e9 / 8 / 2**30)
    wide = changed_sites(capital, WhatIf(link=("beijing-haidian:beijing-yizhuang=800",)))
    assert len(wide.links) == len(capital.links)
    cut = changed_sites(capital, WhatIf(link=("beijing-haidian:beijing-yizhuang=0",)))
    assert cut.gib_per_s("beijing-haidian", "beijing-yizhuang") is None


def test_a_new_site_can_be_like_one_that_is_there(capital):
    more = changed_sites(capital, WhatIf(add_site=("new=4x8:beijing-haidian/h20",)))
    row = more.site("new")
    assert (row.site, row.units, row.chip, row.fen_per_unit_h) == ("new", 32, "nvidia/h20/sxm5-96gb", 700)
    assert more.gib_per_s("new", "beijing-yizhuang") == more.gib_per_s("beijing-haidian", "beijing-yizhuang")


def test_a_question_about_a_site_is_about_all_its_pools(capital):
    gone = changed_sites(capital, WhatIf(remove_site=("beijing-haidian",)))
    assert "beijing-haidian" not in gone.places
    dear = changed_sites(capital, WhatIf(price=("beijing-haidian=1",)))
    assert {row.fen_per_unit_h for row in dear.rows("beijing-haidian")} == {1}
    lost = outages(WhatIf(lose=("beijing-haidian@60",)), capital, 40.0)
    assert {(one.site, one.at_s) for one in lost} == {("beijing-haidian/ascend-train", 100.0), ("beijing-haidian/h20", 100.0)}


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        (WhatIf(nodes=("beijing-haidian=4",)), BadInput, r"has 2 pools.*beijing-haidian/ascend-train, beijing-haidian/h20"),
        (WhatIf(link=("beijing-haidian:moon=4",)), NotFound, "no site 'moon'"),
        (WhatIf(link=("beijing-haidian:beijing-haidian/h20=4",)), BadInput, "links a site to itself"),
        (WhatIf(link=("beijing-haidian=4",)), BadInput, "SITE:SITE=GBIT"),
        (WhatIf(add_site=("new=4x8:beijing-haidian",)), BadInput, "has 2 pools"),
    ],
)
def test_a_question_that_names_what_is_not_one_thing_is_refused(capital, asked, error, said):
    with pytest.raises(error, match=said):
        changed_sites(capital, asked)


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        (Ask(input_gib=-1.0, input_site="a"), "negative_ask"),
        (Ask(chip_memory_gib=float("nan")), "negative_ask"),
        (Ask(checkpoint_s=0.0), "negative_ask"),
        (Ask(chips=()), "no_chip"),
        (Ask(bound="luck"), "unknown_bound"),
        (Ask(input_gib=5.0), "input_nowhere"),
        (Ask(deadline_s=10.0), "late_at_submission"),
        (Ask(least_units=5.0, most_units=8.0), "impossible_range"),
        (Ask(least_units=1.5, most_units=8.0), "impossible_range"),
        (Ask(most_units=3.0), "impossible_range"),
    ],
)
def test_an_impossible_ask_is_counted_with_an_example_and_not_repaired(ask, code):
    rows = [RawJob(row=1, job_id="a", submit_s=10.0, duration_s=5.0, accelerators=4.0, cores=None, ask=ask)]
    trace = build_trace("t", rows, FaultBook())
    assert len(trace) == 0
    assert [(fault.code, fault.count) for fault in trace.faults] == [(code, 1)]
    assert "row 1" in trace.faults[0].examples[0]


def parquet(folder: Path, **columns: object) -> Path:
    rows = {"job_id": ["a", "b"], "submit_s": [0.0, 1.0], "duration_s": [60.0, 60.0], "gpus": [8, 8]}
    file = folder / "asking_jobs.parquet"
    pq.write_table(pa.table(rows | columns), file)
    return file


def test_optional_columns_are_read_and_null_means_not_said(tmp_path):
    file = parquet(
        tmp_path, gpu_type=[["nvidia/h20"], None], residency=[None, ["beijing"]], input_gib=[20.0, None], input_site=["a", None],
        deadline_s=[None, 500.0], gpus_min=[4, None], gpus_max=[16, None],
    )  # fmt: skip
    asks = read_trace(file).asks
    assert list(asks.chips) == [("nvidia/h20",), None]
    assert list(asks.residency) == [None, ("beijing",)]
    assert asks.input_gib[0] == 20.0
    assert asks.input_gib[1] != asks.input_gib[1]  # NaN: not said, and not 0
    assert (asks.least_units[0], asks.most_units[0]) == (4, 16)


def test_a_column_of_another_type_is_refused_by_name(tmp_path):
    with pytest.raises(BadInput, match=r"input_gib \(string\), gpu_type \(string\)|gpu_type \(string\), input_gib \(string\)"):
        read_trace(parquet(tmp_path, gpu_type=["h20", "h20"], input_gib=["much", "little"]))


def test_the_report_over_the_example_says_what_is_not_known_and_who_may_run_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(OUTPUT, "json", True)
    file = parquet(tmp_path, gpu_type=[["nvidia/h20"], ["nvidia/h100"]], input_gib=[20.0, None], input_site=["beijing-yizhuang", None])
    ran = CliRunner().invoke(
        app,
        [
            *("run", "-t", str(file), "-s", str(CAPITAL), "-p", "fifo"),
            *("--link", "beijing-haidian:beijing-yizhuang=0", "--begins", "2026-12-07T00:00+0800"),
        ],
        catch_exceptions=False,
    )  # fmt: skip
    report = json.loads(ran.stdout)
    as_is, asked = report["rows"]
    assert as_is["measured"]["account"]["egress_gib"] == 20.0
    assert as_is["measured"]["least"]["egress_gib"] == 20.0
    assert as_is["nowhere"] == [[1, "its chips are not among those asked for"]]
    assert as_is["measured"]["refused"] == 1
    assert asked["measured"]["account"]["egress_gib"] == 20.0  # by way of the cloud, which has a link of its own
    assert any("contracted carbon factor is not known for cloud-north/a10" in note for note in report["notes"])


def test_the_shipped_pooling_policy_runs_on_the_shipped_example(tmp_path, monkeypatch):
    monkeypatch.setattr(OUTPUT, "json", True)
    file = parquet(tmp_path, walltime_s=[90.0, None], input_gib=[500.0, None], input_site=["shanxi-datong", None])
    ran = CliRunner().invoke(app, ["run", "-t", str(file), "-s", str(CAPITAL), "-p", "pooling"], catch_exceptions=False)
    found = json.loads(ran.stdout)["rows"][0]["measured"]
    assert found["ended"] == 2
    assert found["account"]["egress_gib"] == 0  # the job went to its data
    assert found["account"]["energy_kwh"]["unknown_share"] == 0
    with pytest.raises(BadInput, match="cloud-north"):
        CliRunner().invoke(app, ["run", "-t", str(file), "-s", str(CAPITAL), "-p", "pooling", "--carbon", "market"], catch_exceptions=False)
