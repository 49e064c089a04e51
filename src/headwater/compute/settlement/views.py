"""What the routes of settlement take and give. Money is in fen, whole."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from headwater.compute.settlement import budgets, statements
from headwater.compute.settlement.budgets import LARGEST_FEN, Standing
from headwater.compute.settlement.periods import PATTERN
from headwater.compute.settlement.ratecards import Card, Version
from headwater.compute.settlement.records import Total

SITE = r"^[a-z0-9][a-z0-9_-]{0,39}$"
PATH = r"^[A-Za-z0-9/-]{1,200}$"


class View(BaseModel):
    """Base of what is given: it reads the domain's own objects."""

    model_config = ConfigDict(from_attributes=True)


class Body(BaseModel):
    """Base of what is taken: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid")


class TotalView(View):
    """Sums over usage records."""

    records: int = Field(description="Attempts that ended, also those that failed, were preempted or lost.")
    accelerator_s: float = Field(description="Accelerators held, times seconds.")
    domestic_accelerator_s: float = Field(description="Of these, on chips of a domestic vendor.")
    domestic_share: float | None = Field(description="Domestic over all accelerator-seconds, 0 to 1; null where none were used.")
    core_s: float = Field(description="Cores held, times seconds.")
    cpu_s: float = Field(description="CPU seconds as engines measured them.")
    gib_s: float = Field(description="GiB of memory held, times seconds.")
    energy_kwh: float = Field(description="Of the records whose energy is known.")
    location_kgco2: float = Field(description="By the grid around each site.")
    market_kgco2: float = Field(description="By each site's contracts.")
    unknown_energy: int = Field(description="Records whose energy is not known.")
    charge_fen: int = Field(description="Charges in fen.", examples=[1250])
    uncharged: int = Field(description="Records that no rate card priced.")


class UsageLine(View):
    """What an organisation used at a site."""

    organisation: str
    site: str
    total: TotalView


class UsageView(View):
    """What was used in a period, by organisation and site; an organisation's line does not hold those below it."""

    period: str
    total: TotalView
    lines: list[UsageLine]


class BudgetView(View):
    """A budget and what is spent of it."""

    organisation: str
    period: str
    since: datetime
    until: datetime
    fen: int
    vouchers_fen: int
    spent_fen: int
    left_fen: int = Field(description="Below 0 by what ran when it was spent.")


class BudgetIn(Body):
    """What an organisation may be charged in a period."""

    organisation: str = Field(pattern=PATH, examples=["city/haidian"])
    period: str = Field(pattern=PATTERN, examples=["2026-11"])
    fen: int = Field(ge=0, le=LARGEST_FEN, examples=[5_000_000])


class BudgetName(Body):
    """One budget."""

    organisation: str = Field(pattern=PATH, examples=["city/haidian"])
    period: str = Field(pattern=PATTERN, examples=["2026-11"])


class VoucherView(View):
    """A voucher; its id is the SHA-256 of its code."""

    id: str
    organisation: str
    fen: int
    state: str
    reason: str
    issued_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    period: str | None = Field(description="Of the budget for which it was redeemed.")


class VoucherIn(Body):
    """A voucher to issue."""

    organisation: str = Field(pattern=PATH, examples=["city/haidian"])
    fen: int = Field(gt=0, le=LARGEST_FEN, examples=[200_000])
    expires_at: AwareDatetime = Field(examples=["2026-12-31T23:59:59+08:00"])
    reason: str = Field(min_length=3, max_length=300, examples=["compute voucher for small firms, second round"])


class IssuedView(VoucherView):
    """A voucher with its code, which is shown this once."""

    code: str


class CodeIn(Body):
    """A voucher's code."""

    code: str = Field(min_length=1, max_length=200, examples=["hw_voucher_…"])


class CardView(View):
    """A site's rate card."""

    site: str
    version: int
    valid_from: datetime
    card: Card


class StatementView(View):
    """What a site supplied in a period and what it is owed."""

    site: str
    period: str
    due_fen: int = Field(description="Charges and adjustments.")
    adjusted_fen: int = Field(description="The adjustments of disputes that were settled in the period.")
    total: TotalView
    organisations: dict[str, TotalView]
    lines: int = Field(description="Attempts; the CSV has each.")


class SignedView(View):
    """A signed usage statement, to be sent to the site."""

    digest: str
    envelope: dict[str, Any]


class DifferenceView(View):
    """One difference between two accounts."""

    kind: str = Field(description="missing_here, missing_there, or differs.")
    key: str
    figure: str
    ours: Any
    theirs: Any


class ComparisonView(View):
    """A site's signed account held against the platform's."""

    site: str
    period: str
    statement: str = Field(description="The digest of the site's statement, which is kept.")
    ours: int = Field(description="Lines that the platform has.")
    theirs: int
    agreed: int
    ours_fen: int
    theirs_fen: int
    differences: list[DifferenceView]


class DisputeView(View):
    """A dispute over one attempt's line."""

    id: str
    site: str
    key: str
    state: str
    claim: str
    answer: str
    settlement: str
    adjustment_fen: int
    opened_at: datetime
    settled_at: datetime | None


class DisputeIn(Body):
    """A dispute to open."""

    site: str = Field(pattern=SITE, examples=["beijing-haidian"])
    key: str = Field(
        min_length=1, max_length=140, description="Of the attempt, as statements have it.", examples=["credit-1f2e3d4c.train.1"]
    )
    claim: str = Field(min_length=3, max_length=1000, examples=["It was preempted after a minute."])


class AnswerIn(Body):
    """An answer to a dispute."""

    answer: str = Field(min_length=3, max_length=1000, examples=["Our log has it until noon."])


class SettlementIn(Body):
    """How a dispute is settled."""

    adjustment_fen: int = Field(ge=-LARGEST_FEN, le=LARGEST_FEN, description="Added to what is owed to the site.", examples=[-435])
    settlement: str = Field(min_length=3, max_length=1000, examples=["Half is borne by each side."])


def total_view(total: Total) -> TotalView:
    """Return a total as it is given."""
    return TotalView.model_validate(total)


def usage_view(label: str, lines: tuple[tuple[str, str, Total], ...], total: Total) -> UsageView:
    """Return a period's use as it is given."""
    told = [UsageLine(organisation=organisation, site=site, total=total_view(one)) for organisation, site, one in lines]
    return UsageView(period=label, total=total_view(total), lines=told)


def budget_view(one: Standing) -> BudgetView:
    """Return a budget as it is given."""
    budget: budgets.Budget = one.budget
    return BudgetView(
        organisation=budget.organisation,
        period=budget.period.label,
        since=budget.period.since,
        until=budget.period.until,
        fen=budget.fen,
        vouchers_fen=budget.vouchers_fen,
        spent_fen=one.spent_fen,
        left_fen=one.left_fen,
    )


def card_view(one: Version) -> CardView:
    """Return a rate card as it is given."""
    return CardView(site=one.site, version=one.version, valid_from=one.valid_from, card=one.card)


def statement_view(told: statements.SiteStatement) -> StatementView:
    """Return a site's statement as it is given."""
    return StatementView(
        site=told.site,
        period=told.period.label,
        due_fen=told.due_fen,
        adjusted_fen=told.adjusted_fen,
        total=total_view(told.total),
        organisations={name: total_view(one) for name, one in told.by_organisation()},
        lines=len(told.lines),
    )


def comparison_view(one: statements.Comparison) -> ComparisonView:
    """Return a comparison as it is given."""
    return ComparisonView(site=one.site, period=one.period.label, statement=one.statement, **one.found.as_json())
