"""The ledger, over SQLite and PostgreSQL: append-only, chained, and any tampering is named."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from headwater.core import canonical, ledger
from headwater.core.errors import Broken, HeadwaterError
from headwater.core.platform import Platform


def fill(site: Platform, count: int, subject: str = "thing") -> None:
    for number in range(count):
        site.db.write(
            lambda connection, number=number: ledger.append(
                connection, "test.entry", subject=subject, actor="tester", at=site.clock.now(), body={"n": number, "name": "数据"}
            )
        )


def check(site: Platform) -> ledger.Verified:
    with site.db.read() as connection:
        return ledger.verify(connection)


def tamper(site: Platform, *commands: str) -> None:
    """Change the database behind the platform's back, as somebody with the file or the server's password could."""
    guards = ["ledger_no_update", "ledger_no_delete"] if site.db.is_sqlite else ["ledger_no_change on ledger_entry"]
    with site.db.engine().begin() as connection:
        for guard in guards:
            connection.exec_driver_sql(f"drop trigger {guard}")
        for command in commands:
            connection.exec_driver_sql(command)


def test_an_untouched_ledger_verifies(any_site: Platform) -> None:
    before = check(any_site).entries
    fill(any_site, 20)
    assert check(any_site).entries == before + 20


def test_appends_from_many_threads_form_one_chain(any_site: Platform) -> None:
    before = check(any_site).entries
    threads = [threading.Thread(target=fill, args=(any_site, 10, f"thread {number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check(any_site).entries == before + 80


@pytest.mark.parametrize("change", ["update ledger_entry set actor = 'x'", "delete from ledger_entry"])
def test_the_database_itself_refuses_to_change_an_entry(any_site: Platform, change: str) -> None:
    fill(any_site, 1)
    with pytest.raises((HeadwaterError, DBAPIError), match="append-only"):
        any_site.db.write(lambda connection: connection.execute(text(change)))
    check(any_site)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("update ledger_entry set body = '{\"n\":99}' where seq = 6", "entry 6 was altered"),
        ("update ledger_entry set actor = 'mallory' where seq = 5", "entry 5 was altered"),
        ("update ledger_entry set at = '2020-01-01T00:00:00.000000Z' where seq = 7", "entry 7 was altered"),
        ("update ledger_entry set body = 'not json' where seq = 6", "entry 6 holds no readable body"),
        ("delete from ledger_entry where seq = 6", "entry 6 is missing"),
        ("delete from ledger_entry where seq > 10", "entry 11 is missing: the ledger had"),
    ],
)
def test_tampering_is_found_and_the_first_broken_entry_named(any_site: Platform, change: str, named: str) -> None:
    fill(any_site, 12)
    tamper(any_site, change)
    with pytest.raises(Broken, match=named):
        check(any_site)


def test_a_rewritten_entry_with_a_fresh_hash_breaks_the_one_after_it(any_site: Platform) -> None:
    fill(any_site, 12)
    with any_site.db.read() as connection:
        one = next(entry for entry in ledger.entries(connection) if entry.seq == 6)
    fields = {"seq": 6, "at": ledger.to_text(one.at), "kind": one.kind, "actor": "mallory", "subject": one.subject}
    forged = canonical.digest(fields | {"body": dict(one.body), "previous": one.previous})
    tamper(any_site, f"update ledger_entry set actor = 'mallory', hash = '{forged}' where seq = 6")
    with pytest.raises(Broken, match="entry 7 does not follow"):
        check(any_site)


def test_an_entry_is_kept_only_with_the_change_that_it_records(any_site: Platform) -> None:
    before = check(any_site).entries

    def half_done(connection: ledger.Connection) -> None:
        ledger.append(connection, "test.entry", subject="x", actor="tester", at=any_site.clock.now())
        raise ValueError("the change that goes with it failed")

    with pytest.raises(ValueError, match="goes with it"):
        any_site.db.write(half_done)
    assert check(any_site).entries == before


def test_entries_are_read_and_appended_in_one_transaction(any_site: Platform) -> None:
    def work(connection: Connection) -> int:
        seen = len(list(ledger.entries(connection)))
        ledger.append(connection, "test.after", subject="x", actor="t", at=any_site.clock.now())
        return len(list(ledger.entries(connection))) - seen

    assert any_site.db.write(work) == 1
