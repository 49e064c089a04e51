"""Readers count and show what cannot be replayed, and repair nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from headwater.compute.twin.rows import RawJob, build_trace
from headwater.compute.twin.sacct import moment_of, resources_of, sacct_rows, seconds_of
from headwater.compute.twin.trace import FaultBook, Trace
from headwater.compute.twin.traces import read_trace, swf_rows
from headwater.core.errors import BadInput, NotFound

SHARED = Path(__file__).resolve().parents[4].parent / "shared" / "traces"

SWF = """; UnixStartTime: 0
; MaxProcs: 128
1 0 5 100 4 -1 -1 4 200 -1 1 7 1 3 1 1 -1 -1
2 10 -1 0 4 -1 -1 4 200 -1 1 7 1 3 1 1 -1 -1
3 5 -1 60 8 -1 -1 -1 -1 -1 1 8 1 3 1 1 -1 -1
4 20 -1 -1 8 -1 -1 8 -1 -1 1 8 1 3 1 1 -1 -1
5 30 -1 50 -1 -1 -1 -1 -1 -1 1 8 1 3 1 1 -1 -1
6 30 what 50 1
7 -3 0 50 2 -1 -1 2 60 -1 1 8 1 3 1 1 -1 -1
"""

SACCT = """JobID|JobName|Account|Partition|Submit|Start|End|ElapsedRaw|Timelimit|AllocTRES|NCPUS|State
10|train|vision|main|2026-03-01T08:00:00|2026-03-01T08:10:00|2026-03-01T09:10:00|3600|02:00:00|billing=8,cpu=8,gres/gpu=2,mem=4G|8|COMPLETED
10.batch|batch|vision||2026-03-01T08:10:00|2026-03-01T08:10:00|2026-03-01T09:10:00|3600||cpu=8|8|COMPLETED
11|train|vision|main|2026-03-01T08:05:00|2026-03-01T08:20:00|2026-03-01T08:30:00|600|UNLIMITED|cpu=8,gres/npu:ascend910b=4|8|FAILED
12|wait|speech|main|2026-03-01T08:06:00|Unknown|Unknown|0|1-00:00:00|cpu=8,gres/gpu=1|8|PENDING
13|odd|speech|main|2026-03-01T09:00:00|2026-03-01T08:00:00|2026-03-01T08:30:00|1800|01:00|cpu=8,gres/gpu=1|8|COMPLETED
14|cpu|speech|small|2026-03-01T09:00:00|2026-03-01T09:00:00|2026-03-01T09:30:00|1800|01:00:00|cpu=8|8|COMPLETED
10|train|vision|main|2026-03-01T08:00:00|2026-03-01T08:30:00|2026-03-01T09:30:00|3600|02:00:00|cpu=8,gres/gpu=2|8|COMPLETED
15|train|vision|main|2026-03-01T07:00:00|2026-03-01T08:20:00|2026-03-01T08:30:00|60|02:00:00|cpu=8,gres/gpu=2|8|COMPLETED
16|broken
"""


def faults(trace: Trace) -> dict[str, int]:
    return {fault.code: fault.count for fault in trace.faults}


def read_text(text: str, reader: str) -> Trace:
    book = FaultBook()
    rows = swf_rows(text, book) if reader == "swf" else sacct_rows(text, "dump", book)
    return build_trace("t", rows, book)


def test_swf_keeps_what_can_be_replayed_and_counts_the_rest_with_examples():
    trace = read_text(SWF, "swf")
    assert list(trace.job_id) == ["1", "3"]
    assert list(trace.units) == [4, 8]
    assert trace.walltime_s[0] == 200
    assert np.isnan(trace.walltime_s[1])
    assert faults(trace) == {"malformed": 1, "negative_submit": 1, "no_run_time": 1, "no_units": 1, "unknown_duration": 1, "unsorted": 2}
    assert "row 6" in next(f for f in trace.faults if f.code == "malformed").examples[0]


def test_sacct_finds_accelerators_of_any_family_and_passes_over_steps():
    trace = read_text(SACCT, "sacct")
    assert list(trace.job_id) == ["10", "11"]
    assert list(trace.units) == [2, 4]
    assert list(trace.duration_s) == [3600, 600]
    assert list(trace.wait_s) == [600, 900]
    assert trace.walltime_s[0] == 7200
    assert np.isnan(trace.walltime_s[1])
    assert list(trace.pool) == ["main", "main"]


def test_sacct_counts_overlapping_unsorted_impossible_and_unfinished_rows():
    found = faults(read_text(SACCT, "sacct"))
    expected = {"overlapping": 1, "starts_before_submit": 1, "unknown_duration": 1, "no_units": 1, "elapsed_disagrees": 1, "malformed": 1}
    assert {code: found[code] for code in expected} == expected
    assert found["unsorted"] >= 1


def test_the_time_of_a_sacct_trace_begins_at_its_first_submission():
    trace = read_text(SACCT, "sacct")
    assert trace.submit_s[0] == 3600  # the row of 07:00 counts for the origin though it cannot be replayed
    assert trace.submit_s[1] == 3900


def test_a_dump_without_a_header_is_refused_with_the_next_step():
    with pytest.raises(BadInput, match=r"does not name the fields JobID, Submit.*--parsable2"):
        read_text("10|train|vision", "sacct")


@pytest.mark.parametrize(("text", "seconds"), [("02:00:00", 7200), ("1-00:00:00", 86400), ("05:30", 330), ("UNLIMITED", None), ("", None)])
def test_slurm_durations(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "-5:00"])
def test_a_duration_that_is_none_is_an_error(text):
    with pytest.raises(ValueError, match=r".*"):
        seconds_of(text)


def test_moments_differ_by_the_seconds_between_them():
    assert moment_of("2026-03-01T00:00:10") - moment_of("2026-02-28T23:59:50") == 20  # type: ignore[operator]
    assert moment_of("Unknown") is None


def test_a_plain_count_beats_typed_ones_of_the_same_family():
    assert resources_of("cpu=8,gres/gpu=4,gres/gpu:h20=4,mem=1G") == {"cpu": 8, "gres/gpu": 4}
    assert resources_of("cpu=8,gres/npu:a=2,gres/npu:b=3") == {"cpu": 8, "gres/npu": 5}


def test_cores_count_only_where_nothing_asks_for_an_accelerator():
    rows = [RawJob(row=i, job_id=str(i), submit_s=i, duration_s=5.0, accelerators=a, cores=16.0) for i, a in enumerate([0.0, 0.0])]
    assert list(build_trace("t", rows, FaultBook()).units) == [16, 16]


def test_a_share_of_one_accelerator_is_counted_not_rounded():
    rows = [RawJob(row=1, job_id="a", submit_s=0, duration_s=5.0, accelerators=0.5, cores=1.0)]
    trace = build_trace("t", rows, FaultBook())
    assert len(trace) == 0
    assert faults(trace) == {"fractional_units": 1}


def test_a_file_that_is_not_there_or_not_parquet_is_refused(tmp_path):
    with pytest.raises(NotFound, match="There is no trace"):
        read_trace(tmp_path / "absent.parquet")
    (tmp_path / "bad.parquet").write_text("not parquet")
    with pytest.raises(BadInput, match="Not a Parquet file"):
        read_trace(tmp_path / "bad.parquet")


@pytest.mark.parametrize(
    ("name", "jobs", "dropped"), [("nasa_ipsc", 18_066, {"no_run_time": 173}), ("hpc2n_slice", 3_145, {"unknown_duration": 25})]
)
def test_the_shared_traces_lose_exactly_the_rows_that_the_reference_dropped(name, jobs, dropped):
    file = SHARED / f"{name}_jobs.parquet"
    if not file.is_file():
        pytest.skip(f"the shared traces are not beside this repository: {file.name}")
    trace = read_trace(file)
    assert len(trace) == jobs
    assert faults(trace) == dropped
