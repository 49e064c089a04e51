"""The catalogue's tables."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Date, ForeignKey, Index, Integer, String, Table, Text

from headwater.core.db import UtcTime, metadata

data_sets = Table(
    "data_set",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("title", JSON, nullable=False),
    Column("about", JSON, nullable=False),
    Column("organisation", String(200), ForeignKey("organisation.path"), nullable=False),
    Column("licence", String(64), nullable=False),
    Column("zone", String(64)),
    Column("keywords", JSON, nullable=False),
    Column("openness", String(12), nullable=False),
    Column("rhythm", String(12), nullable=False),
    Column("contact", String(300), nullable=False),
    Column("spatial", String(64)),
    Column("temporal", JSON),
    Column("created_by", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("issued_at", UtcTime),
    Column("modified_at", UtcTime, nullable=False),
    Column("withdrawn_at", UtcTime),
    Column("withdrawn_because", Text),
    Index("ix_data_set_organisation", "organisation"),
    Index("ix_data_set_zone", "zone"),
)
data_versions = Table(
    "data_version",
    metadata,
    Column("dataset", String(36), ForeignKey("data_set.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(72), nullable=False),
    Column("columns", JSON, nullable=False),
    Column("rows", BigInteger),
    Column("bytes", BigInteger, nullable=False),
    Column("files", JSON, nullable=False),
    Column("quality", JSON, nullable=False),
    Column("note", Text, nullable=False),
    Column("delta", Integer),
    Column("statement", String(71), ForeignKey("statement.digest"), nullable=False),
    Column("job", String(120), unique=True),
    Column("created_by", String(64), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Index("ix_data_version_digest", "digest"),
)
data_terms = Table(
    "data_term",
    metadata,
    Column("term", String(64), primary_key=True),
    Column("dataset", String(36), ForeignKey("data_set.id"), primary_key=True),
    Column("weight", Integer, nullable=False),
    Index("ix_data_term_dataset", "dataset"),
)
data_commitments = Table(
    "data_commitment",
    metadata,
    Column("dataset", String(36), ForeignKey("data_set.id"), primary_key=True),
    Column("due", Date, nullable=False),
    Column("owner", String(200), ForeignKey("organisation.path"), nullable=False),
    Column("rhythm", String(12), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("changed_by", String(64), nullable=False),
    Column("changed_at", UtcTime, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_data_commitment_due", "due"),
)
