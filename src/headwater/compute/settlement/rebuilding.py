"""Settlement's tables made anew from the ledger alone."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from headwater.compute.settlement import budgets, disputes, ratecards, records, vouchers
from headwater.compute.settlement.entries import Apply
from headwater.core import ledger

APPLIED: Mapping[str, Apply] = {
    records.KIND: records.applied,
    ratecards.KIND: ratecards.applied,
    budgets.SET: budgets.applied_set,
    budgets.REMOVED: budgets.applied_removed,
    vouchers.ISSUED: vouchers.applied_issued,
    vouchers.REDEEMED: vouchers.applied_redeemed,
    vouchers.EXPIRED: vouchers.applied_expired,
    disputes.OPENED: disputes.applied_opened,
    disputes.ANSWERED: disputes.applied_answered,
    disputes.SETTLED: disputes.applied_settled,
}

PAGE = 1000


def rebuild(connection: Connection) -> int:
    """Empty the tables of settlement, make them anew from the ledger's entries, and return how many entries that took."""
    for part in (records, ratecards, budgets, vouchers, disputes):
        part.clear(connection)
    count, after = 0, 0
    while page := list(ledger.entries(connection, after=after, limit=PAGE)):
        for entry in page:
            if (apply := APPLIED.get(entry.kind)) is not None:
                apply(connection, entry)
                count += 1
        after = page[-1].seq
    return count
