"""Sessions know the API token that they were opened with, and end with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("token", sa.Column("made_from", sa.String(length=64), nullable=True))
    op.create_index("ix_token_made_from", "token", ["made_from"], unique=False)
