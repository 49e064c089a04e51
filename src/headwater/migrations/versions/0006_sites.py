"""The register of sites, how each fares, and jobs that may go to any of them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "site",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("engine", sa.String(length=40), nullable=False),
        sa.Column("options", sa.JSON(), nullable=True),
        sa.Column("order", sa.String(length=8), nullable=False),
        sa.Column("why", sa.String(length=400), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_site")),
    )
    op.add_column("engine", sa.Column("standing", sa.String(length=12), nullable=False, server_default="active"))
    op.add_column("engine", sa.Column("why", sa.String(length=400), nullable=False, server_default=""))
    op.add_column("job", sa.Column("asked", sa.String(length=40), nullable=False, server_default=""))
    op.add_column("job", sa.Column("moves", sa.Integer(), nullable=False, server_default="0"))
    op.execute("update job set asked = engine")
