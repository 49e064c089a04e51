"""Connections to PostgreSQL that ask for each statement once.

The driver sends a statement to be parsed, asks what it gives, and then has it carried out: three waits for the server where one does,
and nothing of it is kept. Here a statement that a connection carries out again is prepared, and from then on is one message and one
answer. The server still plans it each time, by the values of that time, as it does without.
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import pg8000
from pg8000.converters import make_params

MOST_KEPT = 256
"""Statements that a connection knows; of more, the one used longest ago is forgotten."""
PLANNED_ANEW = "SET SESSION plan_cache_mode = force_custom_plan"
"""A plan that is kept would be that of the first minutes, when the tables were small."""

TABLE_CHANGED = "0A000"
"""PostgreSQL's code where a table has changed since a statement was prepared, so that its answer would have other columns."""


class Connection(pg8000.Connection):  # type: ignore[misc] # the driver is not typed
    """A connection of the driver, but that statements are prepared at their second use."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Connect as the driver does."""
        self._known: OrderedDict[tuple[str, tuple[int, ...]], tuple[bytes, Any, Any] | None] = OrderedDict()
        super().__init__(*arguments, **options)
        if self._usock.family != socket.AF_UNIX:
            self._usock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else a long parameter waits 40 ms for its last part
        self.execute_simple(PLANNED_ANEW)

    def execute_unnamed(self, statement: str, vals: Sequence[Any] = (), oids: Sequence[int] = (), stream: Any = None) -> Any:
        """Carry a statement out and return the driver's record of it."""
        key = statement, tuple(oids)
        if stream is not None or key not in self._known:
            self._keep(key, None)
            return super().execute_unnamed(statement, vals=vals, oids=oids, stream=stream)
        prepared = self._known[key] or self.prepare_statement(statement, oids)
        self._keep(key, prepared)
        name, columns, functions = prepared
        try:
            return self.execute_named(name, make_params(self.py_types, vals), columns, functions, statement)
        except pg8000.DatabaseError as error:
            if TABLE_CHANGED in str(error):
                self._known.pop(key)
            raise

    def _keep(self, key: tuple[str, tuple[int, ...]], prepared: tuple[bytes, Any, Any] | None) -> None:
        self._known[key] = prepared
        self._known.move_to_end(key)
        if len(self._known) > MOST_KEPT:
            _, oldest = self._known.popitem(last=False)
            if oldest is not None:
                self.close_prepared_statement(oldest[0])
