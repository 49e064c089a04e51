"""The catalogue of public data, its opening plan, grants and products."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    _data_sets()
    _versions_and_terms()
    _commitments()
    _grants()
    _inputs()


def _data_sets() -> None:
    op.create_table(
        "data_set",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("title", sa.JSON(), nullable=False),
        sa.Column("about", sa.JSON(), nullable=False),
        sa.Column("organisation", sa.String(200), nullable=False),
        sa.Column("licence", sa.String(64), nullable=False),
        sa.Column("zone", sa.String(64), nullable=True),
        sa.Column("keywords", sa.JSON(), nullable=False),
        sa.Column("openness", sa.String(12), nullable=False),
        sa.Column("rhythm", sa.String(12), nullable=False),
        sa.Column("contact", sa.String(300), nullable=False),
        sa.Column("spatial", sa.String(64), nullable=True),
        sa.Column("temporal", sa.JSON(), nullable=True),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("issued_at", UtcTime(), nullable=True),
        sa.Column("modified_at", UtcTime(), nullable=False),
        sa.Column("withdrawn_at", UtcTime(), nullable=True),
        sa.Column("withdrawn_because", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.path"], name=op.f("fk_data_set_organisation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_set")),
        sa.UniqueConstraint("name", name=op.f("uq_data_set_name")),
    )
    op.create_index("ix_data_set_organisation", "data_set", ["organisation"], unique=False)
    op.create_index("ix_data_set_zone", "data_set", ["zone"], unique=False)


def _versions_and_terms() -> None:
    op.create_table(
        "data_version",
        sa.Column("dataset", sa.String(36), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(72), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=True),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("quality", sa.JSON(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("delta", sa.Integer(), nullable=True),
        sa.Column("statement", sa.String(71), nullable=False),
        sa.Column("job", sa.String(120), nullable=True),
        sa.Column("created_by", sa.String(64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["data_set.id"], name=op.f("fk_data_version_dataset")),
        sa.ForeignKeyConstraint(["statement"], ["statement.digest"], name=op.f("fk_data_version_statement")),
        sa.PrimaryKeyConstraint("dataset", "number", name=op.f("pk_data_version")),
        sa.UniqueConstraint("job", name=op.f("uq_data_version_job")),
    )
    op.create_index("ix_data_version_digest", "data_version", ["digest"], unique=False)
    op.create_table(
        "data_term",
        sa.Column("term", sa.String(64), nullable=False),
        sa.Column("dataset", sa.String(36), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["data_set.id"], name=op.f("fk_data_term_dataset")),
        sa.PrimaryKeyConstraint("term", "dataset", name=op.f("pk_data_term")),
    )
    op.create_index("ix_data_term_dataset", "data_term", ["dataset"], unique=False)


def _commitments() -> None:
    op.create_table(
        "data_commitment",
        sa.Column("dataset", sa.String(36), nullable=False),
        sa.Column("due", sa.Date(), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("rhythm", sa.String(12), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["data_set.id"], name=op.f("fk_data_commitment_dataset")),
        sa.ForeignKeyConstraint(["owner"], ["organisation.path"], name=op.f("fk_data_commitment_owner")),
        sa.PrimaryKeyConstraint("dataset", name=op.f("pk_data_commitment")),
    )
    op.create_index("ix_data_commitment_due", "data_commitment", ["due"], unique=False)


def _grants() -> None:
    op.create_table(
        "data_grant",
        sa.Column("statement", sa.String(71), nullable=False),
        sa.Column("number", sa.String(80), nullable=False),
        sa.Column("dataset", sa.String(36), nullable=True),
        sa.Column("grantee", sa.String(200), nullable=False),
        sa.Column("organisation", sa.String(200), nullable=False),
        sa.Column("mode", sa.String(12), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("used", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("taken_up_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["statement"], ["statement.digest"], name=op.f("fk_data_grant_statement")),
        sa.ForeignKeyConstraint(["dataset"], ["data_set.id"], name=op.f("fk_data_grant_dataset")),
        sa.PrimaryKeyConstraint("statement", name=op.f("pk_data_grant")),
    )
    op.create_index("ix_data_grant_grantee", "data_grant", ["grantee"], unique=False)
    op.create_index("ix_data_grant_dataset", "data_grant", ["dataset"], unique=False)
    op.create_table(
        "data_product",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("statement", sa.String(71), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("price_fen", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(40), nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["statement"], ["data_grant.statement"], name=op.f("fk_data_product_statement")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_product")),
        sa.UniqueConstraint("statement", "name", name=op.f("uq_data_product_statement_name")),
    )


def _inputs() -> None:
    op.create_table(
        "data_input",
        sa.Column("input", sa.String(64), nullable=False),
        sa.Column("statement", sa.String(71), nullable=False),
        sa.PrimaryKeyConstraint("input", "statement", name=op.f("pk_data_input")),
    )
    op.create_index("ix_data_input_statement", "data_input", ["statement"], unique=False)
    op.create_table(
        "data_input_read",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_data_input_read")),
    )
