"""The database: what is answered is kept, what fails leaves no trace, and the schema is the one that the code declares."""

from __future__ import annotations

import importlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text

from headwater import migrations
from headwater.core import identity, platform, settings
from headwater.core.db import Database, metadata, sqlite_url
from headwater.core.errors import Conflict, HeadwaterError, Unavailable
from headwater.core.identity import organisations
from headwater.core.platform import Platform


def paths(site: Platform) -> set[str]:
    with site.db.read() as connection:
        return set(connection.execute(select(organisations.c.path)).scalars())


def test_a_write_that_fails_leaves_no_trace_beside_others_that_succeed(any_site: Platform) -> None:
    def write(number: int) -> str:
        def work(connection: identity.Connection) -> None:
            connection.execute(insert(organisations).values(path=f"city/o{number}", title="x"))
            if number % 3 == 0:
                raise Conflict(f"{number} changes its mind")

        try:
            any_site.db.write(work)
        except Conflict:
            return "undone"
        return "kept"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(write, range(60)))
    kept = {f"city/o{number}" for number, outcome in enumerate(outcomes) if outcome == "kept"}
    assert paths(any_site) - {"city"} == kept
    assert len(kept) == 40


def test_what_a_write_returns_comes_back_after_the_commit(any_site: Platform) -> None:
    def work(connection: identity.Connection) -> str:
        connection.execute(insert(organisations).values(path="city/a", title="x"))
        return "answer"

    assert any_site.db.write(work) == "answer"
    assert "city/a" in paths(any_site)


def test_a_reader_sees_one_moment_while_writers_go_on(site: Platform) -> None:
    with site.db.read() as connection:
        before = len(connection.execute(select(organisations)).all())
        site.db.write(lambda writing: writing.execute(insert(organisations).values(path="city/new", title="x")))
        assert len(connection.execute(select(organisations)).all()) == before
    assert "city/new" in paths(site)


def test_a_write_inside_a_write_is_a_mistake_that_shows_at_once(site: Platform) -> None:
    with pytest.raises(RuntimeError, match="pass the connection on"):
        site.db.write(lambda _: site.db.write(lambda _: None))


def test_writing_after_the_end_is_refused(tmp_path: Path) -> None:
    with platform.opened(settings.load(data_folder=tmp_path)) as site:
        site.found()
    with pytest.raises(Unavailable, match="The database is closed"):
        site.db.write(lambda connection: None)


def test_the_migrations_make_exactly_the_tables_that_the_code_declares(any_site: Platform) -> None:
    for module in migrations.TABLE_MODULES:
        importlib.import_module(module)
    with any_site.db.engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_opening_twice_at_once_upgrades_once(tmp_path: Path, database_url: str) -> None:
    chosen = settings.load(data_folder=tmp_path / "data", database_url=database_url)
    failures: list[Exception] = []

    def opening() -> None:
        try:
            with platform.opened(chosen) as site:
                site.found()
        except HeadwaterError as error:
            failures.append(error)

    threads = [threading.Thread(target=opening) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_new_file_may_be_opened_by_many_at_the_same_moment(tmp_path: Path) -> None:
    failures: list[HeadwaterError] = []
    for turn in range(80):
        together = threading.Barrier(8)

        def opening(url: str = sqlite_url(tmp_path / f"{turn}.db"), together: threading.Barrier = together) -> None:
            together.wait()
            db = Database(url)
            try:
                db.write(lambda connection: connection.execute(text("create table if not exists things (a integer)")))
            except HeadwaterError as error:
                failures.append(error)
            finally:
                db.close()

        threads = [threading.Thread(target=opening) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    chosen = settings.load(data_folder=tmp_path)
    with platform.opened(chosen) as site:
        site.db.write(lambda connection: connection.execute(text("update alembic_version set version_num = '9999'")))
    with pytest.raises(Conflict, match="revision 9999; this version knows up to"), platform.opened(chosen):
        pass


def test_a_database_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    chosen = settings.load(data_folder=tmp_path, database_url="postgresql+pg8000://headwater:secret@127.0.0.1:1/none")
    with pytest.raises(Unavailable, match="cannot be opened") as caught, platform.opened(chosen):
        pass
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "headwater.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(Unavailable, match="not a database"), platform.opened(settings.load(data_folder=tmp_path)):
        pass
