"""Every route of the data room."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.protocols.api import router as protocols

router = APIRouter()
router.include_router(protocols)
