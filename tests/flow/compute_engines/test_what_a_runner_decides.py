"""The pure parts of a runner: limits, and the bounds of a log."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.compute.engines.attempt import NAME
from headwater.compute.engines.devices import VARIABLES, visible_devices
from headwater.compute.engines.job_log import Log
from headwater.compute.engines.limits import Limits

amounts = st.floats(0, 1e6)
bounds = st.one_of(st.none(), st.floats(0.001, 1e6))


@given(wall_s=amounts, cpu_s=amounts, held_gib=amounts, most_wall_s=bounds, most_cpu_s=bounds, most_gib=bounds)
def test_a_limit_is_passed_exactly_when_more_is_used_than_it_says(
    wall_s: float, cpu_s: float, held_gib: float, most_wall_s: float | None, most_cpu_s: float | None, most_gib: float | None
) -> None:
    limits = Limits({"wall_s": most_wall_s, "cpu_s": most_cpu_s, "memory_gib": most_gib})
    held = int(held_gib * 2**30)
    passed = limits.passed(wall_s, cpu_s, held)
    over = {
        "out_of_memory": most_gib is not None and held > most_gib * 2**30,
        "out_of_cpu_time": most_cpu_s is not None and cpu_s > most_cpu_s,
        "out_of_time": most_wall_s is not None and wall_s > most_wall_s,
    }
    assert (passed is None) == (not any(over.values()))
    assert passed is None or over[passed[0]]


def test_a_passed_limit_is_told_with_both_figures_and_what_to_change() -> None:
    passed = Limits({"memory_gib": 0.5}).passed(1.0, 1.0, 3 << 28)
    assert passed is not None
    assert passed[1].startswith("The job used 0.75 GiB of memory and may use 0.50 GiB. Ask for more under resources: memory_gib")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(chunks=st.lists(st.binary(max_size=70), max_size=60))
def test_a_log_holds_its_head_its_newest_bytes_and_tells_exactly_what_is_missing(chunks: list[bytes], tmp_path: Path) -> None:
    written = b"".join(chunks)
    log = Log(str(tmp_path / "log.txt"), head_bytes=100, tail_bytes=100)
    for chunk in chunks:
        log.write(chunk)
    kept = (tmp_path / "log.txt").read_bytes()
    if len(written) <= 300:
        assert kept == written
        return
    assert kept[:100] == written[:100]
    assert kept[-100:] == written[-100:]
    assert len(kept) <= 100 + 200 + 50


@given(st.text(max_size=140))
def test_a_key_never_leads_out_of_the_folder(key: str) -> None:
    if NAME.fullmatch(key):
        assert (Path("/jobs") / key).resolve().parent == Path("/jobs")
        assert key.isascii()


def test_a_job_without_accelerators_sees_none_and_one_with_some_sees_those() -> None:
    assert set(visible_devices(()).values()) == {""}
    assert visible_devices((0, 3)) == dict.fromkeys(VARIABLES, "0,3")
