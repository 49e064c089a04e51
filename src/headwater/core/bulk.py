"""Many rows in one statement, the same on both databases.

SQLite runs in this process, so a prepared statement for each row costs microseconds. PostgreSQL answers each statement over a
connection, and a statement with a parameter for each value of each row takes longer to write and to read than to carry out; so
there all rows go as one parameter, a JSON document that the database takes apart by the table's own types.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import JSON, Column, ColumnElement, Connection, String, Table, any_, bindparam, cast, insert, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY


def insert_all(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that all name the same columns; those left out get their defaults."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), [dict(row) for row in rows])
        return
    defaults = {name: default.arg for name, column in table.c.items() if (default := column.default) is not None and default.is_scalar}  # type: ignore[attr-defined] # a scalar default has its value
    names = list(dict.fromkeys([*rows[0], *defaults]))
    columns = ", ".join(_quoted(connection, name) for name in names)
    statement = f"INSERT INTO {_quoted(connection, table.name)} ({columns}) SELECT {columns} FROM {_told(connection, table)}"  # noqa: S608 - names of our own tables
    connection.execute(text(statement), {"rows": _as_json(connection, table, [defaults | dict(row) for row in rows])})


def update_all(connection: Connection, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set columns of the rows with these keys; all rows name the same columns, the key among them."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        names = list(rows[0])
        bound = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in names}
        statement = update(table).where(table.c[key] == bound[key]).values({name: bound[name] for name in names if name != key})
        connection.execute(statement, [{f"new_{name}": row[name] for name in names} for row in rows])
        return
    connection.execute(text(_updating(connection, table, key, rows)), {"rows": _as_json(connection, table, rows)})


def update_seen(
    connection: Connection, table: Table, key: str, rows: Sequence[Mapping[str, Any]], seen: Mapping[str, Mapping[str, Any]]
) -> frozenset[str]:
    """Set columns as `update_all` does, of those rows that still hold what was seen in them, and return their keys.

    `seen` names, by key, the same columns for each row, and what they held.
    """
    if not rows:
        return frozenset()
    names = list(next(iter(seen.values())))
    if connection.dialect.name == "sqlite":
        query = select(table.c[key], *(table.c[name] for name in names)).where(among(connection, table.c[key], list(seen)))
        same = {row[0] for row in connection.execute(query) if all(row[place] == seen[row[0]][name] for place, name in enumerate(names, 1))}
        update_all(connection, table, key, [row for row in rows if row[key] in same])
        return frozenset(same)
    own, columns = _quoted(connection, table.name), [_quoted(connection, name) for name in (key, *names)]
    here = ", ".join(f"{own}.{column}" for column in columns)
    before = _told(connection, table).replace(":rows", ":seen")
    still = f"({here}) IN (SELECT {', '.join(columns)} FROM {before})"  # noqa: S608 - names of our own tables
    told = f"{_updating(connection, table, key, rows)} AND {still} RETURNING {own}.{columns[0]}"
    were = _as_json(connection, table, [{key: name, **held} for name, held in seen.items()])
    return frozenset(connection.execute(text(told), {"rows": _as_json(connection, table, rows), "seen": were}).scalars())


def _updating(connection: Connection, table: Table, key: str, rows: Sequence[Mapping[str, Any]]) -> str:
    own, by = _quoted(connection, table.name), _quoted(connection, key)
    changes = ", ".join(f"{column} = told.{column}" for name in rows[0] if name != key and (column := _quoted(connection, name)))
    return f"UPDATE {own} SET {changes} FROM {_told(connection, table)} WHERE {own}.{by} = told.{by}"  # noqa: S608 - names of our own tables


def among(connection: Connection, column: Column[Any], values: Collection[str]) -> ColumnElement[bool]:
    """Return the condition that a text column holds one of these values, as one parameter where that is quicker."""
    if connection.dialect.name == "sqlite":
        return column.in_(list(values))
    listed = ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return column == any_(cast(literal(f"{{{listed}}}", String()), ARRAY(String())))  # written here: the driver goes letter by letter


def _told(connection: Connection, table: Table) -> str:
    return f"json_populate_recordset(NULL::{_quoted(connection, table.name)}, CAST(:rows AS json)) AS told"


def _quoted(connection: Connection, name: str) -> str:
    return connection.dialect.identifier_preparer.quote(name)


def _as_json(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as JSON, each value as its column keeps it."""
    kept = {name: table.c[name].type for name in rows[0]}
    found = {name: kind.dialect_impl(connection.dialect).bind_processor(connection.dialect) for name, kind in kept.items()}
    ways = {name: way for name, way in found.items() if way is not None and not isinstance(kept[name], JSON)}
    return json.dumps([{**row, **{name: way(row[name]) for name, way in ways.items()}} for row in rows])
