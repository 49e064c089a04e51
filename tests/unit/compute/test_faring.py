"""How a site fares: lost after silence, held off when it comes and goes, drained when told."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headwater.compute.faring import HOLD_S, LONGEST_HOLD_S, Health, held_until_s, stand
from headwater.compute.pool import Standing
from headwater.compute.sites import Order

LOST_S = 60.0


def standing(health: Health, now_s: float = 10_000.0) -> Standing:
    return stand(health, now_s=now_s, lost_s=LOST_S).standing


def test_a_site_is_lost_once_it_has_been_silent_for_so_long() -> None:
    assert standing(Health(silent_s=LOST_S - 1)) is Standing.ACTIVE
    assert stand(Health(silent_s=75, problem="refused"), now_s=0, lost_s=LOST_S).why == "has not answered for 75 s: refused"
    assert standing(Health(silent_s=5, opened=False)) is Standing.UNREACHED


def test_a_site_that_drains_is_drained_when_nothing_is_left_there() -> None:
    assert standing(Health(order=Order.DRAIN, busy=2)) is Standing.DRAINING
    assert standing(Health(order=Order.EVICT)) is Standing.DRAINED


def test_one_loss_costs_nothing_a_second_a_minute_and_each_further_one_twice_as_long() -> None:
    back_s = 10_000.0
    held_s = [held_until_s(Health(losses_s=[back_s - 10 * n for n in range(times)], answers_since_s=back_s)) - back_s for times in range(6)]
    assert held_s == [0, 0, HOLD_S, 2 * HOLD_S, 4 * HOLD_S, 8 * HOLD_S]


def test_losses_of_more_than_an_hour_ago_count_no_more() -> None:
    health = Health(losses_s=[100.0, 5_000.0], answers_since_s=5_100.0)
    assert standing(health, now_s=5_101.0) is Standing.ACTIVE
    assert standing(replace(health, losses_s=[4_000.0, 5_000.0]), now_s=5_101.0) is Standing.HELD


@given(st.lists(st.floats(0, 10_000), max_size=40), st.floats(0, 10_000))
def test_no_site_is_held_off_for_more_than_an_hour(losses_s: list[float], back_s: float) -> None:
    assert held_until_s(Health(losses_s=sorted(losses_s), answers_since_s=back_s)) <= back_s + LONGEST_HOLD_S
