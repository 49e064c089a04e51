"""The database tables of protected tables, their budgets and what was asked of them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from headwater.core.db import UtcTime, metadata

protected = Table(
    "protected_table",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("organisation", String(200), nullable=False),
    Column("declared", JSON, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_protected_table_organisation", "organisation"),
)
budgets = Table(
    "privacy_budget",
    metadata,
    Column("table", String(64), ForeignKey("protected_table.name"), primary_key=True),
    Column("grantee", String(200), primary_key=True),
    Column("total_micro", BigInteger, nullable=False),
    Column("spent_micro", BigInteger, nullable=False),
    Column("most_questions", Integer, nullable=False),
    Column("questions", Integer, nullable=False),
    Column("changed_at", UtcTime, nullable=False),
)
"""One row per grantee, and one for the table as a whole under the grantee `*`. Epsilon in millionths, so that sums are exact."""

questions = Table(
    "privacy_question",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("table", String(64), ForeignKey("protected_table.name"), nullable=False),
    Column("grantee", String(200), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("asked_at", UtcTime, nullable=False),
    Column("kind", String(12), nullable=False),
    Column("question", JSON, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("number", Integer, nullable=True),
    Column("spent_micro", BigInteger, nullable=False),
    Column("state", String(12), nullable=False),
    Column("because", Text, nullable=False),
    Column("answer", JSON, nullable=True),
    UniqueConstraint("table", "grantee", "number"),
    Index("ix_privacy_question_table_asked_at", "table", "asked_at"),
)
"""Every question with its decision: `refused`, `authorised` (spent, not yet answered), `answered` or `failed`."""
