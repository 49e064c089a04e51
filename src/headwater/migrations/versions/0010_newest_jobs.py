"""The newest jobs are found without sorting all."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.create_index("ix_job_submitted_at", "job", ["submitted_at"], unique=False)
