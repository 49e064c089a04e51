"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from headwater.core.db import UtcTime

revision = "0001"
down_revision = None

NO_CHANGE = "the ledger is append-only"


def upgrade() -> None:
    op.create_table(
        "artifact_holding",
        sa.Column("artifact", sa.String(length=72), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("since", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("artifact", "organisation", name=op.f("pk_artifact_holding")),
    )
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("graph", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("submitted_by", sa.String(length=64), nullable=False),
        sa.Column("step", sa.String(length=80), nullable=True),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.String(length=1000), nullable=False),
        sa.Column("engine", sa.String(length=40), nullable=False),
        sa.Column("place", sa.String(length=400), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("reuse_key", sa.String(length=71), nullable=True),
        sa.Column("reused_from", sa.String(length=120), nullable=True),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("usage", sa.JSON(), nullable=True),
        sa.Column("devices", sa.JSON(), nullable=True),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=True),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("cancel_asked_by", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
    )
    op.create_index("ix_job_graph", "job", ["graph", "position"], unique=False)
    op.create_index("ix_job_reuse_key", "job", ["reuse_key"], unique=False)
    op.create_index("ix_job_state", "job", ["state"], unique=False)
    op.create_table(
        "ledger_entry",
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=80), nullable=False),
        sa.Column("actor", sa.String(length=200), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("previous", sa.String(length=71), nullable=False),
        sa.Column("hash", sa.String(length=71), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_ledger_entry")),
        sa.UniqueConstraint("hash", name=op.f("uq_ledger_entry_hash")),
    )
    op.create_index("ix_ledger_entry_kind_subject", "ledger_entry", ["kind", "subject"], unique=False)
    op.create_index("ix_ledger_entry_subject", "ledger_entry", ["subject"], unique=False)
    op.create_table(
        "ledger_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=71), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_head")),
    )
    op.create_table(
        "model",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("title", sa.JSON(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_model")),
    )
    op.create_index("ix_model_organisation", "model", ["organisation"], unique=False)
    op.create_table(
        "organisation",
        sa.Column("path", sa.String(length=200), nullable=False),
        sa.Column("title", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_organisation")),
    )
    op.create_table(
        "procedure",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_procedure")),
    )
    op.create_table(
        "project_run",
        sa.Column("id", sa.String(length=60), nullable=False),
        sa.Column("project", sa.String(length=40), nullable=False),
        sa.Column("title", sa.JSON(), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("submitted_by", sa.String(length=64), nullable=False),
        sa.Column("submitted_at", UtcTime(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project_run")),
    )
    op.create_index("ix_project_run_submitted_at", "project_run", ["submitted_at"], unique=False)
    op.create_table(
        "statement",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("predicate_type", sa.String(length=120), nullable=False),
        sa.Column("issued_at", UtcTime(), nullable=False),
        sa.Column("envelope", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_statement")),
    )
    op.create_table(
        "case",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("procedure", sa.String(length=64), nullable=False),
        sa.Column("definition", sa.String(length=71), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.Column("job", sa.String(length=120), nullable=True),
        sa.Column("state", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=80), nullable=True),
        sa.Column("statement", sa.String(length=71), nullable=True),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("opened_by", sa.String(length=80), nullable=False),
        sa.Column("opened_at", UtcTime(), nullable=False),
        sa.Column("changed_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["definition"], ["procedure.digest"], name=op.f("fk_case_definition")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_case")),
        sa.UniqueConstraint("job", name=op.f("uq_case_job")),
        sa.UniqueConstraint("number", name=op.f("uq_case_number")),
    )
    op.create_index("ix_case_organisation", "case", ["organisation"], unique=False)
    op.create_index("ix_case_procedure_state", "case", ["procedure", "state"], unique=False)
    op.create_table(
        "deployment",
        sa.Column("job", sa.String(length=120), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("started_by", sa.String(length=64), nullable=False),
        sa.Column("started_at", UtcTime(), nullable=False),
        sa.Column("ended_at", UtcTime(), nullable=True),
        sa.Column("ended_because", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["model"], ["model.name"], name=op.f("fk_deployment_model")),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_deployment")),
    )
    op.create_index("ix_deployment_model_ended_at", "deployment", ["model", "ended_at"], unique=False)
    op.create_table(
        "job_need",
        sa.Column("job", sa.String(length=120), nullable=False),
        sa.Column("needs", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["job.id"], name=op.f("fk_job_need_job")),
        sa.ForeignKeyConstraint(["needs"], ["job.id"], name=op.f("fk_job_need_needs")),
        sa.PrimaryKeyConstraint("job", "needs", name=op.f("pk_job_need")),
    )
    op.create_index("ix_job_need_needs", "job_need", ["needs"], unique=False)
    op.create_table(
        "model_version",
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.String(length=72), nullable=False),
        sa.Column("risk_class", sa.String(length=2), nullable=False),
        sa.Column("declared", sa.JSON(), nullable=False),
        sa.Column("grades", sa.JSON(), nullable=False),
        sa.Column("statements", sa.JSON(), nullable=False),
        sa.Column("policy", sa.String(length=71), nullable=False),
        sa.Column("publication", sa.String(length=71), nullable=False),
        sa.Column("job", sa.String(length=120), nullable=True),
        sa.Column("published_by", sa.String(length=64), nullable=False),
        sa.Column("published_at", UtcTime(), nullable=False),
        sa.Column("retired_at", UtcTime(), nullable=True),
        sa.Column("retired_because", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["model"], ["model.name"], name=op.f("fk_model_version_model")),
        sa.ForeignKeyConstraint(["publication"], ["statement.digest"], name=op.f("fk_model_version_publication")),
        sa.PrimaryKeyConstraint("model", "number", name=op.f("pk_model_version")),
        sa.UniqueConstraint("job", name=op.f("uq_model_version_job")),
    )
    op.create_index("ix_model_version_digest", "model_version", ["digest"], unique=False)
    op.create_table(
        "person",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("organisation", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["organisation"], ["organisation.path"], name=op.f("fk_person_organisation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_person")),
        sa.UniqueConstraint("name", name=op.f("uq_person_name")),
    )
    op.create_table(
        "statement_subject",
        sa.Column("statement", sa.String(length=71), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["statement"], ["statement.digest"], name=op.f("fk_statement_subject_statement")),
        sa.PrimaryKeyConstraint("statement", "digest", name=op.f("pk_statement_subject")),
    )
    op.create_index("ix_statement_subject_digest", "statement_subject", ["digest"], unique=False)
    op.create_table(
        "case_event",
        sa.Column("case", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("definition", sa.String(length=71), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["case"], ["case.id"], name=op.f("fk_case_event_case")),
        sa.PrimaryKeyConstraint("case", "seq", name=op.f("pk_case_event")),
    )
    op.create_table(
        "role_grant",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=200), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("fk_role_grant_person")),
        sa.ForeignKeyConstraint(["scope"], ["organisation.path"], name=op.f("fk_role_grant_scope")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_role_grant")),
    )
    op.create_index("ix_role_grant_person", "role_grant", ["person"], unique=False)
    op.create_table(
        "token",
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.ForeignKeyConstraint(["person"], ["person.id"], name=op.f("fk_token_person")),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_token")),
    )
    op.create_index("ix_token_person", "token", ["person"], unique=False)

    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(f"create trigger ledger_no_{verb} before {verb} on ledger_entry begin select raise(abort, '{NO_CHANGE}'); end")
    else:
        op.execute(f"create function ledger_no_change() returns trigger language plpgsql as $$ begin raise exception '{NO_CHANGE}'; end $$")
        op.execute(
            "create trigger ledger_no_change before update or delete or truncate on ledger_entry"
            " for each statement execute function ledger_no_change()"
        )
