"""Statements of a site's use in a period: what the city owes it, line by line, and the same signed for the site to hold its own against.

All is read from tables that the ledger makes (`rebuilding`), so a statement is the same bytes whoever computes it from the ledger.
A line belongs to the period in which it was recorded, an adjustment to that in which its dispute was settled: a past period's
statement never changes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import structlog
from pydantic import TypeAdapter
from sqlalchemy import Connection, select

from headwater.compute.settlement import disputes, records
from headwater.compute.settlement.disputes import Dispute
from headwater.compute.settlement.periods import Period, day_of, period
from headwater.compute.settlement.reconciling import Reconciled, reconcile
from headwater.compute.settlement.records import SUMS, Total, UsageRecord, summed
from headwater.core import canonical, evidence, statement
from headwater.core.clock import from_text, to_text
from headwater.core.errors import BadInput, BadStatement, LimitExceeded, NotFound
from headwater.core.evidence import Held
from headwater.core.identity import SYSTEM
from headwater.core.keys import Keyring
from headwater.core.platform import Platform
from headwater.core.statement import LARGEST_ENVELOPE, USAGE, Statement, Subject

BUYER, SUPPLIER = "buyer", "supplier"
"""Whose account a usage statement is: the city's, or the site's own."""
log = structlog.get_logger("headwater.compute")

MOST_LINES = 4000
"""Of a signed statement: an envelope holds about so many."""
LINES = TypeAdapter(tuple[UsageRecord, ...])
LARGEST_PAYLOAD = LARGEST_ENVELOPE * 3 // 4 - 4096
"""An envelope holds its payload in base64, and signatures."""
COLUMNS = (
    "key", "organisation", "outcome", "started_at", "ended_at", "metered_at", "accelerators", "cpus", "memory_gib", "accelerator_s",
    "core_s", "cpu_s", "gib_s", "energy_kwh", "location_kgco2", "market_kgco2", "card", "charge_fen", "charge_basis",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatement:
    """What a site supplied in a period, and what the city owes it in fen: charges, and adjustments of disputes."""

    site: str
    period: Period
    lines: tuple[UsageRecord, ...]
    adjustments: tuple[Dispute, ...]
    total: Total

    @property
    def adjusted_fen(self) -> int:
        """The sum of the adjustments."""
        return sum(one.adjustment_fen for one in self.adjustments)

    @property
    def due_fen(self) -> int:
        """What is owed: charges and adjustments."""
        return self.total.charge_fen + self.adjusted_fen

    def by_organisation(self) -> tuple[tuple[str, Total], ...]:
        """Return each organisation's total, by path."""
        names = sorted({one.organisation for one in self.lines})
        return tuple((name, summed(one for one in self.lines if one.organisation == name)) for name in names)


def read(connection: Connection, site: str, span: Period, *, limit: int | None = None) -> SiteStatement:
    """Return a site's statement of a period, at most `limit` lines of it. Raises NotFound for a site that never supplied anything."""
    if site not in records.sites(connection):
        raise NotFound(f"There is no usage of {site[:60]} here.", "See /settlement for those there are, or headwater usage.")
    lines = records.of_site(connection, site, span, limit=limit)
    return SiteStatement(site=site, period=span, lines=lines, adjustments=disputes.settled_in(connection, site, span), total=summed(lines))


def as_csv(told: SiteStatement) -> str:
    """Return a statement as CSV: a row for each attempt, then one for each adjustment, then the total; unknown is empty."""
    file = io.StringIO(newline="")
    out = csv.writer(file, lineterminator="\n")
    out.writerow(("row", *COLUMNS))
    for line in told.lines:
        values = line.as_json() | {"accelerators": " ".join(f"{chip}x{count}" for chip, count in line.accelerators.items())}
        out.writerow(("usage", *(_cell(values[name]) for name in COLUMNS)))
    for one in told.adjustments:
        assert one.settled_at is not None
        values = dict.fromkeys(COLUMNS) | {
            "key": one.key,
            "metered_at": to_text(one.settled_at),
            "charge_fen": one.adjustment_fen,
            "charge_basis": f"dispute {one.id}: {one.settlement}",
        }
        out.writerow(("adjustment", *(_cell(values[name]) for name in COLUMNS)))
    sums = {name: getattr(told.total, name) for name in SUMS if name in COLUMNS}
    whole = dict.fromkeys(COLUMNS) | sums | {"key": f"{told.site} {told.period.label}", "charge_fen": told.due_fen}
    out.writerow(("total", *(_cell(whole[name]) for name in COLUMNS)))
    return file.getvalue()


def _cell(value: Any) -> Any:
    """Return a value for a CSV cell; a text that a spreadsheet would take for a formula is quoted."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@")):
        return f"'{value}"
    return "" if value is None else value


def subject_of(site: str) -> Subject:
    """Return what a site's usage statements are about: its name."""
    return Subject(name=f"usage of {site}", digest=canonical.digest({"usage_of": site}))


def sign(connection: Connection, platform: Platform, site: str, span: Period, *, actor: str) -> Held:
    """Sign and keep the platform's usage statement of a site and a period, up to now where it is not over.

    Raises NotFound for an unknown site, BadInput for a period to come, LimitExceeded for more lines than an envelope holds.
    """
    now = platform.clock.now()
    if span.since >= now:
        raise BadInput(f"{span.label} has not begun.", "Name a period that has.")
    through = Period(since=span.since, until=min(span.until, now), label=span.label)
    told = read(connection, site, through, limit=MOST_LINES + 1)
    if len(told.lines) > MOST_LINES:
        raise LimitExceeded(f"{span.label} has more than {MOST_LINES} lines at {site}.", "Sign shorter periods: its months, or its days.")
    claim = Statement(subjects=(subject_of(site),), predicate_type=USAGE, predicate=predicate(told), issued_at=now)
    if len(claim.payload()) > LARGEST_PAYLOAD:
        raise LimitExceeded(f"The lines of {span.label} at {site} fill more than an envelope.", "Sign shorter periods: months, or days.")
    return evidence.issue(connection, platform.keyring, claim, actor=actor)


def sign_daily(platform: Platform) -> int:
    """Sign yesterday's statement of each site that supplied something and of which nothing was signed today; return how many.

    So the plan's domestic share follows what is used. A day with more lines than an envelope holds is left to be signed by hand.
    """
    now = platform.clock.now()
    today = day_of(now)
    yesterday = day_of(today.since - timedelta(seconds=1))
    count = 0
    with platform.db.read() as connection:
        due = [
            site
            for site in records.sites(connection)
            if not _signed_since(connection, site, today) and records.of_site(connection, site, yesterday, limit=1)
        ]
    for site in due:
        try:
            platform.db.write(lambda connection, site=site: sign(connection, platform, site, yesterday, actor=SYSTEM))  # type: ignore[misc]
        except LimitExceeded as error:
            log.warning("usage.not_signed", site=site, period=yesterday.label, error=error.what)
        else:
            count += 1
    return count


def _signed_since(connection: Connection, site: str, span: Period) -> bool:
    table, about = evidence.statements.c, evidence.subjects.c
    query = select(table.digest).join(evidence.subjects, about.statement == table.digest)
    query = query.where(
        about.digest == statement.bare(subject_of(site).digest), table.predicate_type == USAGE, table.issued_at >= span.since
    )
    return connection.execute(query.limit(1)).first() is not None


def predicate(told: SiteStatement) -> dict[str, Any]:
    """Return what a usage statement says."""
    return {
        "account_of": BUYER,
        "site": told.site,
        "period": told.period.label,
        "since": to_text(told.period.since),
        "through": to_text(told.period.until),
        "totals": asdict(told.total),
        "lines": [line.as_json() for line in told.lines],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A partner's statement held against the platform's own account of the same site and time."""

    site: str
    period: Period
    statement: str
    """The digest of the partner's statement, which is kept."""
    found: Reconciled


def compare(connection: Connection, platform: Platform, envelope: str, *, within: float, actor: str) -> Comparison:
    """Verify and keep a partner's signed usage statement, and hold it against the platform's own account.

    Its key must be trusted here under the site's name: nobody speaks for another site. Raises BadStatement.
    """
    now = platform.clock.now()
    held = evidence.keep(connection, statement.read(envelope), platform.keyring, actor=actor, now=now)
    site, span, lines = _said(held.statement)
    if site not in evidence.signers(platform.keyring, held):
        raise BadStatement(
            f"The statement on '{site[:60]}' is not signed by a key trusted under that name.",
            f"Trust the site's own key: headwater settle trust {site[:60]} PUBLIC_KEY.",
            reason="not_the_site",
        )
    ours = records.of_site(connection, site, span)
    return Comparison(site=site, period=span, statement=held.digest, found=reconcile(ours, lines, within=within))


def _said(told: Statement) -> tuple[str, Period, Sequence[UsageRecord]]:
    """Return the site, the time and the lines of a usage statement. Raises BadStatement for what is none."""
    said: Mapping[str, Any] = told.predicate
    try:
        if told.predicate_type != USAGE:
            raise ValueError(f"it is a {told.predicate_type}")
        if said["account_of"] != SUPPLIER:
            raise ValueError(f"it is not the account of the {SUPPLIER}")
        whole, through = period(str(said["period"])), from_text(str(said["through"]))
        canonical.to_bytes(dict(said))  # refuses what is no number
        lines = LINES.validate_python(said["lines"])
        if any(line.site != said["site"] for line in lines):
            raise ValueError("it has lines of another site")
        if len({line.key for line in lines}) < len(lines):
            raise ValueError("it names an attempt twice")
        return str(said["site"]), Period(since=whole.since, until=min(whole.until, through), label=whole.label), lines
    except (KeyError, TypeError, ValueError, AttributeError, BadInput) as error:
        raise BadStatement(
            f"This is no usage statement: {error}.", "Ask the site for one in the form that docs/settlement.md shows."
        ) from error


def trust(keyring: Keyring, site: str, public: bytes) -> None:
    """Trust a site's public key, 32 raw bytes, for its usage statements. Raises BadInput."""
    keyring.trust(site, public, (USAGE,))


def envelope_of(held: Held) -> dict[str, Any]:
    """Return a signed statement as the JSON file that is sent to a partner."""
    told: dict[str, Any] = json.loads(held.envelope.to_json())
    return told
