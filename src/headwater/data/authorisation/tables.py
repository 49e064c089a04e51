"""The tables of grants and of what is offered under them."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from headwater.core.db import UtcTime, metadata

data_grants = Table(
    "data_grant",
    metadata,
    Column("statement", String(71), ForeignKey("statement.digest"), primary_key=True),
    Column("number", String(80), nullable=False),
    Column("dataset", String(36), ForeignKey("data_set.id")),
    Column("grantee", String(200), nullable=False),
    Column("organisation", String(200), nullable=False),
    Column("mode", String(12), nullable=False),
    Column("policy", JSON, nullable=False),
    Column("problem", Text),
    Column("used", Integer, nullable=False),
    Column("refused", Integer, nullable=False),
    Column("taken_up_at", UtcTime, nullable=False),
    Index("ix_data_grant_grantee", "grantee"),
    Index("ix_data_grant_dataset", "dataset"),
)
data_products = Table(
    "data_product",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("statement", String(71), ForeignKey("data_grant.statement"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("price_fen", BigInteger, nullable=False),
    Column("unit", String(40), nullable=False),
    Column("changed_by", String(64), nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    UniqueConstraint("statement", "name"),
)
