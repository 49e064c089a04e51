"""Alembic migrations, and the list of modules that declare tables."""

TABLE_MODULES = (
    "headwater.core.ledger",
    "headwater.core.evidence",
    "headwater.core.identity",
    "headwater.compute.jobs",
    "headwater.compute.artifacts",
    "headwater.compute.quotas",
    "headwater.compute.pool",
    "headwater.compute.settlement.records",
    "headwater.compute.settlement.ratecards",
    "headwater.compute.settlement.budgets",
    "headwater.compute.settlement.vouchers",
    "headwater.compute.settlement.disputes",
    "headwater.projects.runs",
    "headwater.programmes.cases",
    "headwater.models.hub",
    "headwater.data.catalogue.tables",
    "headwater.data.authorisation.tables",
    "headwater.data.lineage",
    "headwater.data.privacy.protected.tables",
)
