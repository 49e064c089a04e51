"""Alembic migrations, and the list of modules that declare tables."""

TABLE_MODULES = (
    "headwater.core.ledger",
    "headwater.core.evidence",
    "headwater.core.identity",
    "headwater.compute.jobs",
    "headwater.compute.artifacts",
    "headwater.projects.runs",
    "headwater.programmes.cases",
    "headwater.models.hub",
    "headwater.data.privacy.protected.tables",
)
