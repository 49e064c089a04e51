"""Many rows in one statement, the same on both databases.

SQLite runs in this process, so a prepared statement for each row costs microseconds. PostgreSQL answers each statement over a
connection, so there all rows go in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, bindparam, column, insert, update, values

ROWS_AT_ONCE = 500
"""PostgreSQL takes 65,535 parameters in a statement."""


def insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns."""
    if connection.dialect.name == "sqlite":
        if rows:
            connection.execute(insert(table), [dict(row) for row in rows])
        return
    for first in range(0, len(rows), ROWS_AT_ONCE):
        connection.execute(insert(table).values([dict(row) for row in rows[first : first + ROWS_AT_ONCE]]))


def update_all(connection: Connection, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set columns of the rows with these keys; all rows name the same columns, the key among them."""
    if not rows:
        return
    names = list(rows[0])
    if connection.dialect.name == "sqlite":
        bound = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
        statement = update(table).where(table.c[key] == bound[key]).values({name: bound[name] for name in names if name != key})
        connection.execute(statement, [{f"new_{name}": row[name] for name in names} for row in rows])
        return
    for first in range(0, len(rows), ROWS_AT_ONCE):
        told = values(*(column(name, table.c[name].type) for name in names), name="told")
        told = told.data([tuple(row[name] for name in names) for row in rows[first : first + ROWS_AT_ONCE]])
        changed = {name: told.c[name] for name in names if name != key}
        connection.execute(update(table).where(table.c[key] == told.c[key]).values(changed))
