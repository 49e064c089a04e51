"""Connections to PostgreSQL: a statement that comes again is prepared, which changes nothing but what it costs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from headwater.core.db import Database
from headwater.core.postgres import MOST_KEPT


@pytest.fixture
def db(postgres: str) -> Iterator[Database]:
    from tests.postgres import new_database

    opened = Database(new_database(postgres))
    opened.write(lambda connection: connection.execute(text("create table thing (id integer primary key, name varchar)")))
    yield opened
    opened.close()


def add(db: Database, number: int, name: str) -> None:
    db.write(lambda connection: connection.execute(text("insert into thing values (:id, :name)"), {"id": number, "name": name}))


def names(db: Database, least: int) -> list[str]:
    with db.read() as connection:
        return list(connection.execute(text("select name from thing where id >= :least order by id"), {"least": least}).scalars())


def prepared(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.execute(text("select statement from pg_prepared_statements")).scalars())


def test_a_statement_that_comes_again_is_prepared_and_answers_by_its_own_values(db: Database) -> None:
    for number in range(4):
        add(db, number, f"n{number}")
    assert [names(db, least) for least in (0, 2, 4)] == [["n0", "n1", "n2", "n3"], ["n2", "n3"], []]
    kept = prepared(db)
    assert sum("insert into thing" in one for one in kept) == sum("select name from thing" in one for one in kept) == 1


def test_what_fails_is_undone_and_the_same_statement_works_again(db: Database) -> None:
    for number in range(3):
        add(db, number, "first")
    for _ in range(3):
        with pytest.raises(DBAPIError):
            db.write(lambda connection: [connection.execute(text("select :one / :zero"), {"one": 1, "zero": 0}) for _ in range(2)])
    add(db, 3, "after")
    assert names(db, 0) == ["first"] * 3 + ["after"]


def test_a_table_that_changed_under_a_prepared_statement_is_read_as_it_is_now(db: Database) -> None:
    for number in range(3):
        add(db, number, f"{number}7")
        assert db.write(lambda connection: connection.execute(text("select * from thing where id = :id"), {"id": 0}).one()) == (0, "07")
    db.write(lambda connection: connection.execute(text("alter table thing add column more integer")))
    found = db.write(lambda connection: connection.execute(text("select * from thing where id = :id"), {"id": 0}).one())
    assert found == (0, "07", None)


def test_a_connection_keeps_a_bounded_number_of_statements(db: Database) -> None:
    def ask(connection: object, number: int) -> int:
        return int(connection.execute(text(f"select {number} + :one"), {"one": 1}).scalar_one())  # type: ignore[attr-defined]

    for number in range(MOST_KEPT + 40):
        assert [db.write(lambda connection, number=number: ask(connection, number)) for _ in range(2)] == [number + 1] * 2  # type: ignore[misc]
    assert len(prepared(db)) <= MOST_KEPT


def test_a_long_list_of_names_is_one_parameter_whatever_they_hold(db: Database) -> None:
    from sqlalchemy import Column, String, column, select, table

    from headwater.core import bulk

    odd = ["a,b", 'say "x"', "back\\slash", "{curly}", "", "NULL", "two words", "数据"]
    for number, name in enumerate(odd):
        add(db, number, name)
    own = table("thing", Column("name", String))
    for wanted in (odd, odd[:3], ["NULL"], []):
        with db.read() as connection:
            found = connection.execute(select(column("name")).select_from(own).where(bulk.among(connection, own.c.name, wanted))).scalars()  # type: ignore[arg-type]
            assert set(found) == set(wanted)
