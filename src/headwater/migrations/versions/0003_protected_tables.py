"""Protected tables, privacy budgets, and what was asked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "protected_table",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("declared", sa.JSON(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_protected_table")),
    )
    op.create_index("ix_protected_table_organisation", "protected_table", ["organisation"], unique=False)
    op.create_table(
        "privacy_budget",
        sa.Column("table", sa.String(length=64), nullable=False),
        sa.Column("grantee", sa.String(length=200), nullable=False),
        sa.Column("total_micro", sa.BigInteger(), nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.Column("most_questions", sa.Integer(), nullable=False),
        sa.Column("questions", sa.Integer(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["table"], ["protected_table.name"], name=op.f("fk_privacy_budget_table")),
        sa.PrimaryKeyConstraint("table", "grantee", name=op.f("pk_privacy_budget")),
    )
    op.create_table(
        "privacy_question",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("table", sa.String(length=64), nullable=False),
        sa.Column("grantee", sa.String(length=200), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("asked_at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("question", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("number", sa.Integer(), nullable=True),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("because", sa.Text(), nullable=False),
        sa.Column("answer", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["table"], ["protected_table.name"], name=op.f("fk_privacy_question_table")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_privacy_question")),
        sa.UniqueConstraint("table", "grantee", "number", name=op.f("uq_privacy_question_table_grantee_number")),
    )
    op.create_index("ix_privacy_question_table_asked_at", "privacy_question", ["table", "asked_at"], unique=False)
