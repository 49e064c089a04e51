"""The routes that belong to no room: health, metrics, the ledger, statements, people."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.server.api import health, ledger, passwords, people, statements

router = APIRouter()
for part in (health, ledger, statements, people, passwords):
    router.include_router(part.router)
