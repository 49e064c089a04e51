"""Sites as they are now and the map of them, and what organisations hold: what must hold whatever comes in."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.compute import holding
from headwater.compute import map as mapping
from headwater.compute.catalogue.figures import Figure, Unknown
from headwater.compute.catalogue.sites import Site, sites
from headwater.compute.jobs import Job, Spec, State
from headwater.compute.presence import SiteNow, SiteState, assembled, held_over
from headwater.compute.quotas import Quota
from headwater.compute.work import Capacity
from headwater.core.steps import Resources

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CAPITAL = sites()


def job(
    name: str, *, organisation: str = "city", engine: str = "local", began_h: float = 1.0, ended_h: float | None = None, **asked: object
) -> Job:
    """Return a job that began, and where told so ended, some hours ago."""
    return Job(
        id=f"g.{name}",
        graph="g",
        name=name,
        position=0,
        organisation=organisation,
        submitted_by="wu",
        step=None,
        spec=Spec(argv=("true",), params={}, inputs={}, resources=Resources(**({"cpus": 2.0, "memory_gib": 1.0} | asked))),  # type: ignore[arg-type]
        state=State.RUNNING if ended_h is None else State.DONE,
        reason="",
        engine=engine,
        place="",
        attempt=1,
        reuse_key=None,
        reused_from=None,
        result=None,
        error=None,
        usage=None,
        devices=None,
        submitted_at=NOW - timedelta(hours=began_h),
        started_at=NOW - timedelta(hours=began_h),
        ended_at=None if ended_h is None else NOW - timedelta(hours=ended_h),
        cancel_asked_by=None,
        decision=None,
        attained_s=0.0,
        preempted_for=None,
        preemptions=0,
    )


def test_a_described_site_without_an_engine_is_not_seen_and_claims_no_use() -> None:
    here = {"local": Capacity(cpus=8, memory_gib=16, accelerators={"h20": 4})}
    found = assembled(here, [job("a", accelerators={"h20": 3})], {"local": 7}, CAPITAL, NOW)
    assert [site.number for site in found] == list(range(1, len(CAPITAL) + 2))
    local, haidian = found[0], next(site for site in found if site.id == "beijing-haidian")
    assert (local.state, local.share, local.running, local.queued) == (SiteState.ACTIVE, 0.75, 1, 7)
    assert isinstance(local.price, Unknown)
    assert (haidian.state, haidian.share, haidian.cpus) == (SiteState.UNSEEN, None, None)
    assert sum(use.whole for use in haidian.chips) == CAPITAL["beijing-haidian"].chip_count


@pytest.mark.parametrize(("utc_hour", "fen"), [(3, 118), (16, 38), (23, 78)])
def test_the_price_is_that_of_the_sites_own_hour(utc_hour: int, fen: float) -> None:
    found = assembled({}, [], {}, CAPITAL, NOW.replace(hour=utc_hour))
    price = next(site.price for site in found if site.id == "beijing-haidian")
    assert isinstance(price, Figure)
    assert price.value == fen


def moved(site: Site, latitude: float, longitude: float, number: int) -> Site:
    return replace(site, id=f"site-{number}", latitude=latitude, longitude=longitude)


@settings(max_examples=40, deadline=None)
@example([None, (39.9, 116.4), (43.0, 76.0), (30.5, 76.0), (30.0, 76.0)])  # one is moved down to the edge, above the row
@given(st.lists(st.tuples(st.floats(18, 53), st.floats(74, 134)) | st.none() | st.just((39.9, 116.4)), max_size=50))
def test_no_two_sites_overlap_on_the_map_and_all_lie_on_it(places: list[tuple[float, float] | None]) -> None:
    base = CAPITAL["beijing-haidian"]
    plain = [replace(base, id=f"site-{number}", latitude=None, longitude=None) for number in range(len(places))]
    stated = [one if spot is None else moved(one, *spot, number) for number, (one, spot) in enumerate(zip(plain, places, strict=True))]
    federation = replace(CAPITAL, by_id={one.id: one for one in stated}, links=())
    found: tuple[SiteNow, ...] = assembled({}, [], {}, federation, NOW)
    drawn = mapping.drawn(found)
    assert sorted(place.site.number for place in drawn.places) == list(range(1, len(places) + 1))
    spots = [(place.x, place.y) for place in drawn.places]
    assert all(math.dist(one, other) >= 2 * drawn.radius for n, one in enumerate(spots) for other in spots[:n])
    assert all(drawn.radius <= x <= drawn.width - drawn.radius and drawn.radius <= y <= drawn.height - drawn.radius for x, y in spots)


def test_distances_are_great_circles_and_unknown_where_no_place_is_stated() -> None:
    datong, horinger = CAPITAL["shanxi-datong"], CAPITAL["inner-mongolia-horinger"]
    assert mapping.distance_km(datong, horinger) == pytest.approx(130, abs=5)
    assert mapping.distance_km(datong, replace(horinger, latitude=None, longitude=None)) is None


def test_use_over_the_last_hours_counts_a_job_from_its_start_until_before_its_end() -> None:
    ran = [
        job("a", began_h=3, ended_h=1),
        job("b", began_h=2, cpus=1.0),
        job("c", began_h=9, ended_h=5),
        job("d", began_h=9, ended_h=4, cpus=4.0),
    ]
    held = held_over(ran, since=NOW - timedelta(hours=4), now=NOW, points=5)
    assert held["cpu"] == [(-4, 0), (-3, 2), (-2, 3), (-1, 1), (0, 1)]


def test_what_is_held_counts_for_all_above_and_only_ones_own_organisations_are_shown() -> None:
    ran = [
        job("a", organisation="city/a/x", accelerators={"h20": 5}),
        job("b", organisation="city/b"),
        job("c", organisation="city/a", ended_h=0.5),
    ]
    told = {"quotas": [Quota(organisation="city/a", units=4)], "since": NOW - timedelta(hours=24), "now": NOW}
    whole = {row.organisation: row for row in holding.tree(ran, {"city/b": 3}, scopes=["city"], **told)}  # type: ignore[arg-type]
    assert {path: (row.held, row.queued) for path, row in whole.items()} == {
        "city": (7, 3),
        "city/a": (5, 0),
        "city/a/x": (5, 0),
        "city/b": (2, 3),
    }
    assert (whole["city/a"].borrowed, whole["city"].borrowed, whole["city"].limit) == (1, 0, None)
    assert whole["city/a"].used_unit_h == pytest.approx(5 * 1 + 2 * 0.5)
    below = holding.tree(ran, {}, scopes=["city/a"], **told)  # type: ignore[arg-type]
    assert [(row.organisation, row.depth) for row in below] == [("city/a", 0), ("city/a/x", 1)]
