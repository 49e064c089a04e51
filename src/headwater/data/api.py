"""Every route of the data room."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.privacy.api import router as privacy

router = APIRouter()
router.include_router(privacy)
