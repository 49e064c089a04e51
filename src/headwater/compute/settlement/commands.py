"""`headwater usage`, and `headwater settle …`: rate cards, statements, reconciliation, disputes, vouchers, budgets."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from headwater.core import output
from headwater.core.options import Data

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection

    from headwater.compute.settlement.records import Total

T = TypeVar("T")
usage = typer.Typer()
app = typer.Typer(no_args_is_help=True, help="What sites are owed: rate cards, statements, reconciliation, disputes, vouchers, budgets.")
rates = typer.Typer(no_args_is_help=True, help="What sites charge.")
voucher = typer.Typer(no_args_is_help=True, help="Compute vouchers.")
budget = typer.Typer(no_args_is_help=True, help="What organisations may be charged in a period.")
dispute = typer.Typer(no_args_is_help=True, help="Disputes over lines of usage.")
for _name, _group in (("rates", rates), ("voucher", voucher), ("budget", budget), ("dispute", dispute)):
    app.add_typer(_group, name=_name)

Site = Annotated[str, typer.Argument(help="The site: the name of its engine.")]
Period = Annotated[str, typer.Argument(help="2026, 2026-Q4, 2026-11 or 2026-11-26, in the city's time.")]
Organisation = Annotated[str, typer.Argument(help="The organisation's path, such as city/haidian.")]
Fen = Annotated[int, typer.Option(min=0, help="Amount in fen, whole.")]
Existing = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]
USED = {
    "organisation": "organisation",
    "site": "site",
    "records": "attempts",
    "accelerator_h": "accelerator h",
    "domestic": "domestic %",
    "core_h": "core h",
    "gib_h": "GiB h",
    "energy_kwh": "kWh known",
    "charge": "CNY",
}


def _done(data: Path | None, work: Callable[[Connection, str, datetime], T]) -> T:
    """Do what an administrator asked for now, in one transaction, and return what came of it."""
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened:
        administrator, now = opened.found(), opened.clock.now()
        return opened.db.write(lambda connection: work(connection, administrator, now))


@contextmanager
def _reading(data: Path | None) -> Iterator[Connection]:
    """Give a connection to read with."""
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        yield connection


@usage.command("usage")
def used(
    organisation: Annotated[str, typer.Option(help="Only this one and those below it.")] = "city",
    since: Annotated[str | None, typer.Option("--from", help="First day, such as 2026-11-01; the month's first where left out.")] = None,
    until: Annotated[str | None, typer.Option("--to", help="Last day; today where left out.")] = None,
    data: Data = None,
) -> None:
    """Say what organisations used at each site, each attempt in the period in which it ended."""
    from headwater.compute.settlement import records
    from headwater.compute.settlement.periods import between
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened, opened.db.read() as connection:
        span = between(since, until, opened.clock.now())
        lines = records.by_organisation(connection, [organisation], span)
        total = records.total_of(connection, [organisation], span)
    told = [{"organisation": name, "site": site, **_figures(one)} for name, site, one in lines]
    if output.as_json():
        output.record({"period": span.label, "total": _figures(total), "lines": told})
        return
    whole = [{"organisation": f"all, {span.label}", "site": "", **_figures(total)}] if told else []
    output.rows([*told, *whole], columns=USED, empty=f"Nothing was used in {span.label}.")


def _figures(total: Total) -> dict[str, Any]:
    from headwater.compute.settlement.budgets import yuan

    share = total.domestic_share
    return asdict(total) | {
        "domestic_share": share,
        "domestic": None if share is None else round(share * 100, 1),
        "accelerator_h": total.accelerator_s / 3600,
        "core_h": total.core_s / 3600,
        "gib_h": total.gib_s / 3600,
        "charge": yuan(total.charge_fen),
    }


@rates.command("set")
def rates_set(site: Site, file: Existing, data: Data = None) -> None:
    """Set a site's next rate card from a TOML file; it takes force at its `valid_from`, else at once."""
    from headwater.compute.catalogue import problems
    from headwater.compute.settlement import ratecards
    from headwater.compute.settlement.ratecards import Card

    card = problems.checked(Card, problems.read_toml(file), file)
    made = _done(data, lambda connection, actor, now: ratecards.put(connection, site, card, actor=actor, at=now))
    output.record(_card(made))


@rates.command("list")
def rates_listed(data: Data = None) -> None:
    """List every rate card, by site and version."""
    from headwater.compute.settlement import ratecards

    with _reading(data) as connection:
        every = ratecards.listed(connection)
    output.rows([_card(one) for one in every], empty="No rate cards: use is metered and not charged.")


def _card(one: Any) -> dict[str, Any]:
    told = one.card.model_dump(mode="json", by_alias=True, exclude={"valid_from", "schema_"})
    return {"site": one.site, "version": one.version, "valid_from": one.valid_from, **told}


@app.command("statement")
def statement(
    site: Site,
    period: Period,
    csv: Annotated[bool, typer.Option("--csv", help="Print every line as CSV.")] = False,
    sign: Annotated[Path | None, typer.Option(help="Sign the usage and write the envelope (DSSE JSON) to this file.")] = None,
    data: Data = None,
) -> None:
    """Say what a site supplied in a period and what it is owed; print it as CSV, or sign it for the site."""
    from headwater.compute.settlement import periods, statements
    from headwater.core import platform, settings

    span = periods.period(period)
    with platform.opened(settings.load(data_folder=data)) as opened:
        with opened.db.read() as connection:
            told = statements.read(connection, site, span)
        signed = None
        if sign is not None:
            administrator = opened.found()
            held = opened.db.write(lambda connection: statements.sign(connection, opened, site, span, actor=administrator))
            sign.write_text(held.envelope.to_json() + "\n", encoding="utf-8")
            signed = held.digest
    if csv:
        sys.stdout.write(statements.as_csv(told))
        return
    whole = {"site": site, "period": span.label, "due_fen": told.due_fen, "adjusted_fen": told.adjusted_fen}
    by = {name: _figures(one) for name, one in told.by_organisation()}
    if output.as_json():
        output.record({**whole, "total": _figures(told.total), "organisations": by, "signed": signed})
        return
    output.rows([{"organisation": name, "site": site, **one} for name, one in by.items()], columns=USED, empty="No use in this period.")
    output.say(f"Owed: {told.due_fen} fen, of which adjustments {told.adjusted_fen}." + (f" Signed: {signed}" if signed else ""))


@app.command("reconcile")
def reconcile(
    file: Existing,
    within: Annotated[float, typer.Option(min=0, max=0.5, help="Relative difference let pass; money must be equal.")] = 0.0,
    data: Data = None,
) -> None:
    """Hold a site's signed usage statement against the platform's own account and list every difference."""
    from headwater.compute.settlement import statements
    from headwater.core import platform, settings

    envelope = file.read_text(encoding="utf-8")
    with platform.opened(settings.load(data_folder=data)) as opened:
        administrator = opened.found()
        found = opened.db.write(lambda connection: statements.compare(connection, opened, envelope, within=within, actor=administrator))
    told = found.found.as_json()
    if output.as_json():
        output.record({"site": found.site, "period": found.period.label, "statement": found.statement, **told})
        return
    output.rows(told["differences"], empty="No differences.")
    output.say(
        f"{found.site} {found.period.label}: {found.found.agreed} of {found.found.ours} lines agree; they have {found.found.theirs}."
    )


@app.command("trust")
def trust(
    site: Site,
    public_key: Annotated[str, typer.Argument(help="The site's Ed25519 public key: its 32 raw bytes in base64.")],
    data: Data = None,
) -> None:
    """Trust a site's public key for its usage statements."""
    import base64
    import binascii

    from headwater.compute.settlement import statements
    from headwater.core import platform, settings
    from headwater.core.errors import BadInput

    try:
        raw = base64.b64decode(public_key, validate=True)
    except binascii.Error as error:
        raise BadInput(f"The key is not base64: {error}.", "Give the 32 raw bytes in base64.") from error
    with platform.opened(settings.load(data_folder=data)) as opened:
        opened.found()
        statements.trust(opened.keyring, site, raw)
    output.record({"site": site, "key": "trusted for usage statements"})


@app.command("rebuild")
def rebuild(data: Data = None) -> None:
    """Make the tables of usage and settlement anew from the ledger alone; statements stay the same to the byte."""
    from headwater.compute.settlement.rebuilding import rebuild as work
    from headwater.core import platform, settings

    with platform.opened(settings.load(data_folder=data)) as opened:
        output.record({"entries": opened.db.write(work)})


@voucher.command("issue")
def voucher_issued(
    organisation: Organisation,
    fen: Fen,
    reason: Annotated[str, typer.Option(help="What it is for; it is kept for ever.")],
    days: Annotated[float, typer.Option(min=0.001, max=3650, help="How long it can be redeemed.")] = 90.0,
    data: Data = None,
) -> None:
    """Issue a voucher and print its code, which is shown this once."""
    from headwater.compute.settlement import vouchers

    lasts = timedelta(days=days)
    made, code = _done(
        data,
        lambda connection, actor, now: vouchers.issue(
            connection, organisation, fen, expires_at=now + lasts, reason=reason, actor=actor, at=now
        ),
    )
    output.record({"code": code, "organisation": made.organisation, "fen": made.fen, "expires_at": made.expires_at})


@voucher.command("redeem")
def voucher_redeemed(
    code: Annotated[str, typer.Argument(help="The code; `-` reads it from the standard input, which no process list shows.")],
    data: Data = None,
) -> None:
    """Add a voucher to its organisation's budget, once."""
    from headwater.compute.settlement import vouchers

    given = sys.stdin.readline() if code == "-" else code
    made = _done(data, lambda connection, actor, now: vouchers.redeem(connection, given, actor=actor, at=now))
    output.record({"organisation": made.organisation, "fen": made.fen, "state": str(made.state), "period": made.period})


@voucher.command("list")
def vouchers_listed(data: Data = None) -> None:
    """List vouchers, newest first; a voucher's id is the SHA-256 of its code."""
    from headwater.compute.settlement import vouchers

    with _reading(data) as connection:
        every = [asdict(one) | {"state": str(one.state)} for one in vouchers.listed(connection)]
    columns = {"organisation": "organisation", "fen": "fen", "state": "state", "expires_at": "expires", "period": "for", "reason": "reason"}
    output.rows(every, columns=columns, empty="No vouchers: headwater settle voucher issue …")


@budget.command("set")
def budget_set(organisation: Organisation, period: Period, fen: Fen, data: Data = None) -> None:
    """Set what an organisation, with all below it, may be charged in a period; once it is spent its queued jobs wait."""
    from headwater.compute.settlement import budgets

    made = _done(data, lambda connection, actor, now: budgets.put(connection, organisation, period, fen, actor=actor, at=now))
    with _reading(data) as connection:
        output.record(_standing(budgets.standing(connection, made)))


@budget.command("list")
def budgets_listed(data: Data = None) -> None:
    """List budgets and what is spent of each."""
    from headwater.compute.settlement import budgets

    with _reading(data) as connection:
        every = [_standing(budgets.standing(connection, one)) for one in budgets.listed(connection)]
    output.rows(every, empty="No budgets: every organisation may use what its quota allows.")


@budget.command("remove")
def budget_removed(organisation: Organisation, period: Period, data: Data = None) -> None:
    """Remove a budget; its organisation is then not limited in that period."""
    from headwater.compute.settlement import budgets

    _done(data, lambda connection, actor, now: budgets.remove(connection, organisation, period, actor=actor, at=now))
    output.record({"organisation": organisation, "period": period, "budget": "removed"})


def _standing(one: Any) -> dict[str, Any]:
    told = one.budget
    fens = {"fen": told.fen, "vouchers_fen": told.vouchers_fen, "spent_fen": one.spent_fen, "left_fen": one.left_fen}
    return {"organisation": told.organisation, "period": told.period.label, **fens}


@dispute.command("open")
def dispute_opened(
    site: Site,
    attempt: Annotated[str, typer.Argument(help="The attempt's key, as the statement has it.")],
    claim: Annotated[str, typer.Option(help="What is wrong with the line.")],
    data: Data = None,
) -> None:
    """Dispute a line of usage."""
    from headwater.compute.settlement import disputes

    made = _done(data, lambda connection, actor, now: disputes.open_dispute(connection, site, attempt, claim, actor=actor, at=now))
    output.record(_dispute(made))


@dispute.command("answer")
def dispute_answered(
    name: Annotated[str, typer.Argument(metavar="DISPUTE")],
    answer: Annotated[str, typer.Option(help="What this side says to it.")],
    data: Data = None,
) -> None:
    """Answer a dispute."""
    from headwater.compute.settlement import disputes

    made = _done(data, lambda connection, actor, now: disputes.answer(connection, name, answer, actor=actor, at=now))
    output.record(_dispute(made))


@dispute.command("settle")
def dispute_settled(
    name: Annotated[str, typer.Argument(metavar="DISPUTE")],
    adjustment: Annotated[int, typer.Option(help="In fen, added to what is owed to the site: -435 takes back 4.35 CNY.")],
    settlement: Annotated[str, typer.Option(help="How it was settled.")],
    data: Data = None,
) -> None:
    """Settle a dispute by an adjustment, which counts in the period of today."""
    from headwater.compute.settlement import disputes

    made = _done(data, lambda connection, actor, now: disputes.settle(connection, name, adjustment, settlement, actor=actor, at=now))
    output.record(_dispute(made))


@dispute.command("list")
def disputes_listed(data: Data = None) -> None:
    """List disputes, those not settled first."""
    from headwater.compute.settlement import disputes

    with _reading(data) as connection:
        output.rows([_dispute(one) for one in disputes.listed(connection)], empty="No line of usage is disputed.")


def _dispute(one: Any) -> dict[str, Any]:
    return asdict(one) | {"state": str(one.state)}
