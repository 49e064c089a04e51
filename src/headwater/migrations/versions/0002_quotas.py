"""Quotas and weights of organisations; engines as the dispatcher sees them; what a job was decided and has attained."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "quota",
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("units", sa.Float(), nullable=True),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("may_borrow", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.path"], name=op.f("fk_quota_organisation")),
        sa.PrimaryKeyConstraint("organisation", name=op.f("pk_quota")),
    )
    op.create_table(
        "engine",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("cpus", sa.Float(), nullable=False),
        sa.Column("memory_gib", sa.Float(), nullable=False),
        sa.Column("accelerators", sa.JSON(), nullable=False),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_engine")),
    )
    op.add_column("job", sa.Column("decision", sa.JSON(), nullable=True))
    op.add_column("job", sa.Column("attained_s", sa.Float(), nullable=False, server_default="0"))
    op.add_column("job", sa.Column("preempted_for", sa.String(length=120), nullable=True))
    op.add_column("job", sa.Column("preemptions", sa.Integer(), nullable=False, server_default="0"))
    op.create_index("ix_job_ended_at", "job", ["ended_at"], unique=False)
