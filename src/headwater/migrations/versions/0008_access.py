"""Tokens may be limited; sessions know when they were used; passwords; people of an OpenID provider."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("token", sa.Column("permissions", sa.Text(), nullable=True))
    op.add_column("token", sa.Column("organisation", sa.String(length=200), nullable=True))
    op.add_column("token", sa.Column("used_at", UtcTime(), nullable=True))
    op.add_column("role_grant", sa.Column("source", sa.String(length=20), nullable=True))
    op.create_table(
        "password",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("set_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("fk_password_person")),
        sa.PrimaryKeyConstraint("person", name=op.f("pk_password")),
    )
    op.create_table(
        "provider_person",
        sa.Column("issuer", sa.String(length=300), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("fk_provider_person_person")),
        sa.PrimaryKeyConstraint("issuer", "subject", name=op.f("pk_provider_person")),
    )
    op.create_table(
        "sign_in_attempt",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("goes_to", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_sign_in_attempt")),
    )
