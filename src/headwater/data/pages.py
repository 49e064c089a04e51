"""Every page of the data room."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.portal.pages import router as portal

router = APIRouter()
router.include_router(portal)
