"""Usage of each attempt, rate cards, budgets, vouchers and disputes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    _usage()
    _rate_cards()
    _money()
    _disputes()


def _usage() -> None:
    op.create_table(
        "usage_record",
        sa.Column("key", sa.String(length=140), nullable=False),
        sa.Column("job", sa.String(length=120), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=False),
        sa.Column("measured_by", sa.String(length=10), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=False),
        sa.Column("metered_at", UtcTime(), nullable=False),
        sa.Column("accelerators", sa.JSON(), nullable=False),
        sa.Column("cpus", sa.Float(), nullable=False),
        sa.Column("memory_gib", sa.Float(), nullable=False),
        sa.Column("accelerator_s", sa.Float(), nullable=False),
        sa.Column("domestic_accelerator_s", sa.Float(), nullable=False),
        sa.Column("core_s", sa.Float(), nullable=False),
        sa.Column("cpu_s", sa.Float(), nullable=True),
        sa.Column("gib_s", sa.Float(), nullable=False),
        sa.Column("energy_kwh", sa.Float(), nullable=True),
        sa.Column("location_kgco2", sa.Float(), nullable=True),
        sa.Column("market_kgco2", sa.Float(), nullable=True),
        sa.Column("energy_basis", sa.String(length=300), nullable=False),
        sa.Column("card", sa.Integer(), nullable=True),
        sa.Column("charge_fen", sa.BigInteger(), nullable=True),
        sa.Column("charge_basis", sa.String(length=300), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_usage_record")),
    )
    op.create_index("ix_usage_record_site", "usage_record", ["site", "metered_at"], unique=False)
    op.create_index("ix_usage_record_organisation", "usage_record", ["organisation", "metered_at"], unique=False)
    op.create_index("ix_usage_record_job", "usage_record", ["job"], unique=False)


def _rate_cards() -> None:
    op.create_table(
        "rate_card",
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", UtcTime(), nullable=False),
        sa.Column("card", sa.JSON(), nullable=False),
        sa.Column("set_by", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("site", "version", name=op.f("pk_rate_card")),
    )
    op.create_index("ix_rate_card_valid_from", "rate_card", ["site", "valid_from"], unique=False)


def _money() -> None:
    op.create_table(
        "budget",
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("period", sa.String(length=10), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.Column("until", UtcTime(), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("vouchers_fen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("organisation", "period", name=op.f("pk_budget")),
    )
    op.create_index("ix_budget_until", "budget", ["until"], unique=False)
    op.create_table(
        "voucher",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("fen", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.String(length=300), nullable=False),
        sa.Column("issued_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("period", sa.String(length=10), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_voucher")),
    )
    op.create_index("ix_voucher_state", "voucher", ["state", "expires_at"], unique=False)


def _disputes() -> None:
    op.create_table(
        "dispute",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=140), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("claim", sa.String(length=1000), nullable=False),
        sa.Column("answer", sa.String(length=1000), nullable=False),
        sa.Column("settlement", sa.String(length=1000), nullable=False),
        sa.Column("adjustment_fen", sa.BigInteger(), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("settled_at", UtcTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dispute")),
    )
    op.create_index("ix_dispute_site", "dispute", ["site", "settled_at"], unique=False)
    op.create_index("ix_dispute_key", "dispute", ["key"], unique=False)
