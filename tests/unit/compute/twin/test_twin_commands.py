"""`headwater twin`: from an operator's file to a comparison, with what is wrong said plainly."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headwater.compute.twin.commands import app
from headwater.core.errors import BadInput
from headwater.core.output import OUTPUT

HEADER = "JobID|JobName|Account|Partition|Submit|Start|End|ElapsedRaw|Timelimit|AllocTRES|NCPUS|State"


@pytest.fixture
def json_out(monkeypatch):
    monkeypatch.setattr(OUTPUT, "json", True)


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    """Two partitions of 4 cards: while one queues for an hour, the other idles."""
    lines = [HEADER]
    for job, (partition, submit, start, end) in enumerate(
        [
            ("busy", "08:00:00", "08:00:00", "09:00:00"),
            ("busy", "08:01:00", "09:00:00", "10:00:00"),
            ("idle", "08:00:00", "08:00:00", "08:10:00"),
        ]
    ):
        seconds = (int(end[:2]) - int(start[:2])) * 3600 + (int(end[3:5]) - int(start[3:5])) * 60
        moments = "|".join(f"2026-03-01T{moment}" for moment in (submit, start, end))
        lines.append(f"{job}|train|team{job % 2}|{partition}|{moments}|{seconds}|02:00:00|cpu=8,gres/gpu=4|8|COMPLETED")
    lines.append("9|odd")
    file = tmp_path / "dump.txt"
    file.write_text("\n".join(lines) + "\n")
    return file


def said(*arguments: str) -> dict[str, object]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def waits(report) -> dict[tuple[str, str], float]:
    return {(row["measured"]["policy"], row["variant"]): row["measured"]["wait_s"]["mean"] for row in report["rows"]}


def test_one_command_says_what_pooling_would_have_changed(dump, json_out):
    report = said("sacct", str(dump), "--policy", "fifo")
    found = waits(report)
    assert found["fifo", "partitions apart"] == pytest.approx(3540 / 3)
    assert found["fifo", "pooled"] == pytest.approx(540 / 3)  # the second job takes the idle partition at 08:10
    assert report["rows_read"] == 3
    assert any("malformed" in note for note in report["notes"])  # type: ignore[union-attr]


def test_policies_and_a_question_come_side_by_side_and_the_page_is_written(dump, json_out, tmp_path):
    page, saved = tmp_path / "r.html", tmp_path / "r.json"
    report = said(
        *("run", "-t", str(dump), "-p", "fifo", "-p", "easy", "--units", "4", "--units-per-node", "4"),
        *("--nodes", "site=2", "--price", "site=600", "--html", str(page), "--save", str(saved)),
    )
    assert [(row["measured"]["policy"], row["variant"]) for row in report["rows"]] == [  # type: ignore[index,union-attr]
        ("fifo", "as it is"), ("fifo", "what if"), ("easy", "as it is"), ("easy", "what if"),
    ]  # fmt: skip
    first, asked = (row["measured"] for row in report["rows"][:2])  # type: ignore[index]
    assert first["account"]["hire_fen"] == {"known": 0.0, "unknown_share": 1.0}
    assert asked["account"]["hire_fen"] == {"known": pytest.approx(600 * 4 * (1 + 1 + 1 / 6)), "unknown_share": 0.0}
    assert asked["account"]["energy_kwh"]["unknown_share"] == 1.0  # nobody said what the chips draw
    assert page.read_text().startswith("<!doctype html>")
    assert json.loads(saved.read_text()) == report


def test_losing_the_only_site_for_good_leaves_jobs_that_never_end(dump, json_out):
    report = said("run", "-t", str(dump), "-p", "fifo", "--units", "4", "--units-per-node", "4", "--lose", "site@60")
    unfinished = {row["variant"]: row["measured"]["unfinished"] for row in report["rows"]}  # type: ignore[index,union-attr]
    assert unfinished["as it is"] == 0
    assert unfinished["what if"] == 3


def test_a_quota_for_a_tenant_that_the_trace_does_not_name_is_refused(dump):
    with pytest.raises(BadInput, match="names no tenant 'nobody'"):
        CliRunner().invoke(
            app,
            ["run", "-t", str(dump), "-p", "fifo", "--units", "4", "--units-per-node", "4", "--quota", "nobody=3"],
            catch_exceptions=False,
        )


def test_neither_sites_nor_units_is_a_usage_error(dump):
    with pytest.raises(BadInput, match="Neither --sites nor --units"):
        CliRunner().invoke(app, ["run", "-t", str(dump), "-p", "fifo"], catch_exceptions=False)


def test_the_shipped_policies_are_listed(json_out):
    names = [row["name"] for row in said("policies")]  # type: ignore[index]
    assert {"fifo", "easy", "fair_share", "headwater"} <= set(names)
