"""How settlement writes: the ledger entry first, then the table's row made from that entry and from nothing else.

So every table of settlement is a function of the ledger, and `rebuilding.rebuild` can make it anew. The entry comes first because
appending queues writers up: what a table says after it cannot change before the commit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from headwater.core import canonical, ledger
from headwater.core.ledger import Entry

Apply = Callable[[Connection, Entry], None]
"""Changes a table as one entry says. Raises Conflict where the entry does not fit what came before it."""


def enter(connection: Connection, kind: str, then: Apply, *, subject: str, actor: str, at: datetime, body: Mapping[str, Any]) -> Entry:
    """Append an entry and change the table by it. What `then` raises undoes both with the transaction."""
    as_read_back = json.loads(canonical.to_bytes(dict(body)))
    entry = ledger.append(connection, kind, subject=subject, actor=actor, at=at, body=as_read_back)
    then(connection, entry)
    return entry
