"""Vouchers are redeemed once, whoever asks and wherever, and expire; budgets add them up; all of it is in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from headwater.compute.settlement import budgets, vouchers
from headwater.compute.settlement.periods import month_of
from headwater.compute.settlement.vouchers import VoucherState
from headwater.core import ledger, platform
from headwater.core.clock import FixedClock
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from tests.flow.compute_settlement.settled import organisation, priced, used


def funded(site: Platform, fen: int = 0, owner: str = "city/a") -> str:
    now, month = site.clock.now(), month_of(site.clock.now()).label
    site.db.write(lambda connection: budgets.put(connection, owner, month, fen, actor=SYSTEM, at=now))
    return month


def issued(site: Platform, fen: int, owner: str = "city/a", days: float = 30) -> str:
    now = site.clock.now()
    end = now + timedelta(days=days)
    return site.db.write(lambda connection: vouchers.issue(connection, owner, fen, expires_at=end, reason="grant", actor="li", at=now))[1]


def redeem(site: Platform, code: str) -> Callable[[Connection], vouchers.Voucher]:
    return lambda connection: vouchers.redeem(connection, code, actor="wu", at=site.clock.now())


def left(site: Platform, owner: str, month: str) -> int:
    with site.db.read() as connection:
        return budgets.standing(connection, budgets.get(connection, owner, month)).left_fen


def test_a_voucher_adds_to_the_budget_once(any_site: Platform) -> None:
    organisation(any_site, "city/a")
    month, code = funded(any_site, 1000), issued(any_site, 500)
    redeemed = any_site.db.write(redeem(any_site, code))
    assert (redeemed.state, redeemed.period) == (VoucherState.REDEEMED, month)
    with pytest.raises(Conflict, match="was redeemed before"):
        any_site.db.write(redeem(any_site, code))
    assert left(any_site, "city/a", month) == 1500
    with any_site.db.read() as connection:
        kinds = [one.kind for one in ledger.entries(connection, kind="voucher.*")]
        assert code not in str([one.body for one in ledger.entries(connection)]), "only its hash is kept"
    assert kinds == ["voucher.issued", "voucher.redeemed"]


def test_of_many_threads_on_two_servers_of_one_database_one_gets_the_voucher(any_site: Platform) -> None:
    organisation(any_site, "city/a")
    month, code = funded(any_site), issued(any_site, 700)
    with platform.opened(any_site.settings) as other:

        def claim(number: int) -> bool:
            site = (any_site, other)[number % 2]
            try:
                site.db.write(redeem(site, code))
            except Conflict:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            outcomes = list(pool.map(claim, range(16)))
    assert outcomes.count(True) == 1
    assert left(any_site, "city/a", month) == 700
    with any_site.db.read() as connection:
        assert len(list(ledger.entries(connection, kind="voucher.redeemed"))) == 1
        ledger.verify(connection)


@hypothesis_settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fens=st.lists(st.integers(1, 10**6), min_size=1, max_size=5), tries=st.lists(st.integers(0, 4), max_size=12))
def test_what_is_added_is_never_more_than_what_was_issued(site: Platform, fens: list[int], tries: list[int]) -> None:
    owner = f"city/h{abs(hash((tuple(fens), tuple(tries), site.clock.now())))}"
    organisation(site, owner)
    month = funded(site, owner=owner)
    codes, claimed = [issued(site, fen, owner) for fen in fens], set()
    for number in tries:
        if number >= len(codes):
            continue
        if number in claimed:
            with pytest.raises(Conflict):
                site.db.write(redeem(site, codes[number]))
        else:
            site.db.write(redeem(site, codes[number]))
        claimed.add(number)
    assert left(site, owner, month) == sum(fens[number] for number in claimed) <= sum(fens)


def test_a_voucher_past_its_end_is_refused_and_recorded_as_expired(site: Platform) -> None:
    organisation(site, "city/a")
    month, code, kept = funded(site), issued(site, 500, days=1), issued(site, 300, days=60)
    site = replace(site, clock=FixedClock(site.clock.now() + timedelta(days=1)))
    with pytest.raises(Conflict, match="has expired"):
        site.db.write(redeem(site, code))
    assert (vouchers.expire_due(site), vouchers.expire_due(site)) == (1, 0)
    with pytest.raises(Conflict, match="has expired"):
        site.db.write(redeem(site, code))
    with site.db.read() as connection:
        assert vouchers.get(connection, vouchers.id_of(code)).state is VoucherState.EXPIRED
        assert vouchers.get(connection, vouchers.id_of(kept)).state is VoucherState.ISSUED
        assert [one.body for one in ledger.entries(connection, kind="voucher.*") if one.kind == "voucher.redeemed"] == []
    assert left(site, "city/a", month) == 0


def test_what_cannot_be_is_refused_and_says_what_to_do(site: Platform) -> None:
    organisation(site, "city/a")
    now = site.clock.now()
    with pytest.raises(NotFound, match="no such voucher"):
        site.db.write(redeem(site, "hw_voucher_guess"))
    code = issued(site, 500)
    with pytest.raises(Conflict, match="no budget now that a voucher could add to"):
        site.db.write(redeem(site, code))
    with pytest.raises(BadInput, match="0 fen is no voucher"):
        issued(site, 0)
    with pytest.raises(BadInput, match="which is past"):
        issued(site, 1, days=-1)
    with pytest.raises(NotFound, match="no organisation city/none"):
        issued(site, 1, owner="city/none")
    with pytest.raises(BadInput, match="'soon' is no period"):
        site.db.write(lambda connection: budgets.put(connection, "city/a", "soon", 1, actor=SYSTEM, at=now))


def test_a_budget_counts_what_all_below_were_charged_in_its_period(site: Platform) -> None:
    now = site.clock.now()
    organisation(site, "city/a", "city/a/lab", "city/ab")
    priced(site, at=now - timedelta(days=400))
    month = funded(site, 10_000)
    used(site, "mine", at=now, organisation="city/a")
    used(site, "below", at=now, organisation="city/a/lab", hours=2)
    used(site, "beside", at=now, organisation="city/ab")
    used(site, "before", at=now - timedelta(days=62), organisation="city/a")
    assert left(site, "city/a", month) == 10_000 - 3 * (850 + 2 * 10)
    with site.db.read() as connection:
        assert budgets.spent(connection, now) == {}


def test_a_budget_with_vouchers_is_not_removed(site: Platform) -> None:
    organisation(site, "city/a")
    month = funded(site, 5)
    site.db.write(redeem(site, issued(site, 500)))
    now = site.clock.now()
    with pytest.raises(Conflict, match="Vouchers of 500 fen"):
        site.db.write(lambda connection: budgets.remove(connection, "city/a", month, actor=SYSTEM, at=now))
    assert funded(site, 7) == month
    assert left(site, "city/a", month) == 507


@pytest.mark.parametrize(("fen", "told"), [(0, "0.00"), (-1, "-0.01"), (123456789, "1,234,567.89"), (-100, "-1.00")])
def test_money_is_told_to_the_fen(fen: int, told: str) -> None:
    assert budgets.yuan(fen) == told
