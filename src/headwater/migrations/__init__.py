"""Alembic migrations, and the list of modules that declare tables."""

TABLE_MODULES = (
    "headwater.core.ledger",
    "headwater.core.evidence",
    "headwater.core.identity",
    "headwater.core.passwords",
    "headwater.server.oidc.people",
    "headwater.server.oidc.attempts",
    "headwater.compute.jobs",
    "headwater.compute.artifacts",
    "headwater.compute.quotas",
    "headwater.compute.leadership",
    "headwater.compute.pool",
    "headwater.compute.sites",
    "headwater.projects.runs",
    "headwater.programmes.cases",
    "headwater.models.hub",
    "headwater.data.catalogue.tables",
    "headwater.data.authorisation.tables",
    "headwater.data.lineage",
    "headwater.data.privacy.protected.tables",
)
