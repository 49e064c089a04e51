"""Statements of sites: from the ledger alone, signed, held against a partner's own, and disputes that are settled in a later period."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, text

from headwater.compute.settlement import budgets, disputes, rebuilding, records, statements, vouchers
from headwater.compute.settlement.disputes import DisputeState
from headwater.compute.settlement.periods import period
from headwater.core import evidence, ledger, statement
from headwater.core.clock import FixedClock
from headwater.core.errors import BadInput, BadStatement, Conflict, NotFound
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.statement import USAGE, Statement
from tests.flow.compute_settlement.settled import H20, organisation, priced, used

NOVEMBER = period("2026-11")
START = datetime(2026, 11, 3, 2, tzinfo=UTC)


@pytest.fixture
def supplied(any_site: Platform) -> Platform:
    """Give a platform in the middle of November 2026 that used the site `north` since the third."""
    any_site = replace(any_site, clock=FixedClock(START))
    organisation(any_site, "city/a", "city/b")
    priced(any_site, "north")
    for number in range(4):
        owner = ("city/a", "city/b")[number % 2]
        used(any_site, f"n{number}", at=START + timedelta(hours=2 + number), organisation=owner, engine="north")
    used(any_site, "h20", at=START + timedelta(hours=9), organisation="city/b", engine="north", accelerators=H20)
    used(any_site, "elsewhere", at=START + timedelta(hours=9), engine="south")
    return replace(any_site, clock=FixedClock(START + timedelta(days=10)))


def of_november(site: Platform) -> statements.SiteStatement:
    with site.db.read() as connection:
        return statements.read(connection, "north", NOVEMBER)


def theirs(site: Platform, key: Ed25519PrivateKey, /, **changes: Any) -> str:
    """Return the site's own signed account, with changes to what it says."""
    said = json.loads(json.dumps(statements.predicate(of_november(site)))) | {"account_of": "supplier"} | changes
    claim = Statement(subjects=(statements.subject_of("north"),), predicate_type=USAGE, predicate=said, issued_at=site.clock.now())
    return statement.sign(claim, key).to_json()


def compared(site: Platform, envelope: str, within: float = 0.0) -> statements.Comparison:
    return site.db.write(lambda connection: statements.compare(connection, site, envelope, within=within, actor="li"))


def disputed(site: Platform, key: str, claim: str = "it never ran") -> disputes.Dispute:
    at = site.clock.now()
    return site.db.write(lambda connection: disputes.open_dispute(connection, "north", key, claim, actor="li", at=at))


def settled(site: Platform, dispute: str, fen: int) -> disputes.Dispute:
    at = site.clock.now()
    return site.db.write(lambda connection: disputes.settle(connection, dispute, fen, "half is ours", actor="li", at=at))


def test_charges_add_up_to_the_fen_by_line_by_organisation_and_in_all(supplied: Platform) -> None:
    told = of_november(supplied)
    assert [one.charge_fen for one in told.lines] == [870, 870, 870, 870, 720]
    assert told.due_fen == sum(one.charge_fen or 0 for one in told.lines) == sum(total.charge_fen for _, total in told.by_organisation())
    assert told.total.domestic_share == pytest.approx(4 / 5)


def test_a_statement_is_the_same_bytes_when_all_tables_are_made_anew_from_the_ledger(supplied: Platform) -> None:
    now, key = supplied.clock.now(), of_november(supplied).lines[0].key

    def more(connection: Connection) -> None:
        budgets.put(connection, "city/a", "2026-11", 5000, actor="li", at=now)
        _, code = vouchers.issue(connection, "city/a", 900, expires_at=now + timedelta(days=5), reason="x", actor="li", at=now)
        vouchers.redeem(connection, code, actor="wu", at=now)
        vouchers.issue(connection, "city/b", 100, expires_at=now + timedelta(days=5), reason="y", actor="li", at=now)

    supplied.db.write(more)
    settled(supplied, disputed(supplied, key).id, -435)
    tables = ("usage_record", "rate_card", "budget", "voucher", "dispute")

    def rows(connection: Connection) -> dict[str, list[Any]]:
        return {name: [tuple(row) for row in connection.execute(text(f"select * from {name} order by 1, 2"))] for name in tables}

    before_csv = statements.as_csv(of_november(supplied))
    with supplied.db.read() as connection:
        before = rows(connection)
    assert all(before.values())

    def wiped(connection: Connection) -> None:
        for name in tables:
            connection.execute(text(f"delete from {name}"))

    supplied.db.write(wiped)
    with pytest.raises(NotFound, match="no usage of north"):
        of_november(supplied)
    assert supplied.db.write(rebuilding.rebuild) == 6 + 1 + 1 + 3 + 2
    assert statements.as_csv(of_november(supplied)) == before_csv
    with supplied.db.read() as connection:
        assert rows(connection) == before
        ledger.verify(connection)


def test_the_csv_has_a_row_for_each_attempt_each_adjustment_and_the_total(supplied: Platform) -> None:
    dispute = settled(supplied, disputed(supplied, of_november(supplied).lines[0].key).id, -400)
    rows = [line.split(",") for line in statements.as_csv(of_november(supplied)).splitlines()]
    place = rows[0].index("charge_fen")
    assert [row[0] for row in rows] == ["row", *["usage"] * 5, "adjustment", "total"]
    assert [row[place] for row in rows[6:]] == ["-400", str(4 * 870 + 720 - 400)]
    assert dispute.id in rows[6][place + 1]
    assert rows[1][rows[0].index("energy_kwh")] == "", "unknown is empty"


def test_a_past_statement_never_changes(supplied: Platform) -> None:
    before, key = statements.as_csv(of_november(supplied)), of_november(supplied).lines[0].key
    supplied = replace(supplied, clock=FixedClock(NOVEMBER.until + timedelta(days=3)))
    used(supplied, "late", at=supplied.clock.now(), engine="north", hours=24 * 5)
    settled(supplied, disputed(supplied, key).id, -870)
    assert statements.as_csv(of_november(supplied)) == before
    with supplied.db.read() as connection:
        december = statements.read(connection, "north", period("2026-12"))
    assert (december.adjusted_fen, len(december.lines)) == (-870, 1)


def test_a_signed_statement_verifies_and_says_every_line(supplied: Platform) -> None:
    held = supplied.db.write(lambda connection: statements.sign(connection, supplied, "north", NOVEMBER, actor="li"))
    with supplied.db.read() as connection:
        told = evidence.check(connection, supplied.keyring, held, now=supplied.clock.now())
    assert [line["key"] for line in told.predicate["lines"]] == [one.key for one in of_november(supplied).lines]
    assert told.predicate["totals"]["charge_fen"] == 4200
    with pytest.raises(BadInput, match="has not begun"):
        supplied.db.write(lambda connection: statements.sign(connection, supplied, "north", period("2027"), actor="li"))


def test_each_site_has_yesterdays_statement_signed_once_a_day(supplied: Platform) -> None:
    assert statements.sign_daily(supplied) == 0, "nothing was used yesterday"
    tomorrow = replace(supplied, clock=FixedClock(START + timedelta(days=1)))
    assert [statements.sign_daily(tomorrow), statements.sign_daily(tomorrow)] == [2, 0]
    with supplied.db.read() as connection:
        (held,) = evidence.about(connection, statements.subject_of("north").digest)
    assert held.statement.predicate["period"] == "2026-11-03"
    assert held.statement.predicate["totals"]["records"] == 5


def test_a_partners_equal_account_agrees_and_each_difference_is_listed(supplied: Platform) -> None:
    key, lines = Ed25519PrivateKey.generate(), statements.predicate(of_november(supplied))["lines"]
    statements.trust(supplied.keyring, "north", key.public_key().public_bytes_raw())
    assert compared(supplied, theirs(supplied, key)).found.differences == ()
    changed = [lines[1] | {"core_s": 9000.0, "charge_fen": 900}, *lines[2:], lines[0] | {"key": "g-ghost.j.1"}]
    found = compared(supplied, theirs(supplied, key, lines=changed)).found
    assert (found.ours, found.theirs, found.agreed, found.theirs_fen - found.ours_fen) == (5, 5, 3, 30)
    assert [(one.kind.value, one.key, one.figure) for one in found.differences] == [
        ("missing_here", "g-ghost.j.1", ""),
        ("missing_there", "g-n0.j.1", ""),
        ("differs", "g-n1.j.1", "core_s"),
        ("differs", "g-n1.j.1", "charge_fen"),
    ]


def test_nobody_speaks_for_another_site(supplied: Platform) -> None:
    own, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    statements.trust(supplied.keyring, "south", other.public_key().public_bytes_raw())
    with pytest.raises(BadStatement, match="No trusted key signed"):
        compared(supplied, theirs(supplied, own))
    with pytest.raises(BadStatement, match="not signed by a key trusted under that name"):
        compared(supplied, theirs(supplied, other))
    ours = supplied.db.write(lambda connection: statements.sign(connection, supplied, "north", NOVEMBER, actor="li"))
    with pytest.raises(BadStatement, match="not the account of the supplier"):
        compared(supplied, ours.envelope.to_json())


@pytest.mark.parametrize(
    "changes",
    [
        {"account_of": "buyer"},
        {"lines": "all"},
        {"lines": [{"key": "a"}]},
        {"period": "someday"},
        {"site": None},
        {"through": 7},
        {"lines": None},
    ],
)
def test_what_is_no_usage_statement_is_refused(supplied: Platform, changes: dict[str, Any]) -> None:
    key = Ed25519PrivateKey.generate()
    statements.trust(supplied.keyring, "north", key.public_key().public_bytes_raw())
    with pytest.raises(BadStatement, match="no usage statement"):
        compared(supplied, theirs(supplied, key, **changes))
    with supplied.db.read() as connection:
        assert evidence.about(connection, statements.subject_of("north").digest) == (), "and it is not kept"


def test_a_line_named_twice_or_of_another_site_is_refused(supplied: Platform) -> None:
    key, lines = Ed25519PrivateKey.generate(), statements.predicate(of_november(supplied))["lines"]
    statements.trust(supplied.keyring, "north", key.public_key().public_bytes_raw())
    with pytest.raises(BadStatement, match="names an attempt twice"):
        compared(supplied, theirs(supplied, key, lines=[*lines, lines[0]]))
    with pytest.raises(BadStatement, match="lines of another site"):
        compared(supplied, theirs(supplied, key, lines=[lines[0] | {"site": "south"}]))


def test_a_dispute_is_opened_answered_and_settled_once(supplied: Platform) -> None:
    key, at = of_november(supplied).lines[0].key, supplied.clock.now()
    opened = disputed(supplied, key)
    with pytest.raises(Conflict, match="is open already"):
        disputed(supplied, key)
    answered = supplied.db.write(lambda connection: disputes.answer(connection, opened.id, "see our log", actor="wu", at=at))
    assert (answered.state, answered.answer) == (DisputeState.ANSWERED, "see our log")
    with pytest.raises(BadInput, match="takes back more than the 870 fen"):
        settled(supplied, opened.id, -871)
    assert settled(supplied, opened.id, -435).state is DisputeState.SETTLED
    with pytest.raises(Conflict, match="is settled"):
        settled(supplied, opened.id, -1)
    with pytest.raises(BadInput, match="more than the 435 fen"):
        settled(supplied, disputed(supplied, key).id, -436)
    with pytest.raises(BadInput, match="ran at south"):
        disputed(supplied, "g-elsewhere.j.1")
    with supplied.db.read() as connection:
        kinds = [one.kind for one in ledger.entries(connection, subject=opened.id)]
    assert kinds == ["dispute.opened", "dispute.answered", "dispute.settled"]


def test_a_rate_card_never_changes_what_has_begun(supplied: Platform) -> None:
    from headwater.compute.settlement import ratecards
    from headwater.compute.settlement.ratecards import Card

    now = supplied.clock.now()
    dearer = Card.model_validate({"core_fen_per_h": "1000"})
    past = dearer.model_copy(update={"valid_from": now - timedelta(seconds=1)})
    with pytest.raises(BadInput, match="which is past"):
        supplied.db.write(lambda connection: ratecards.put(connection, "north", past, actor=SYSTEM, at=now))
    second = supplied.db.write(lambda connection: ratecards.put(connection, "north", dearer, actor=SYSTEM, at=now))
    assert (second.version, second.valid_from) == (2, now)
    used(supplied, "began", at=now + timedelta(minutes=30), engine="north", accelerators={})
    used(supplied, "begins", at=now + timedelta(hours=1), engine="north", accelerators={})
    with supplied.db.read() as connection:
        made = {one.key: (one.card, one.charge_fen) for one in records.of_site(connection, "north", NOVEMBER)}
    assert (made["g-began.j.1"], made["g-begins.j.1"]) == ((1, 20), (2, 2000))
