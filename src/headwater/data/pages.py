"""Every page of the data room: the staff's, and the public portal."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.authorisation.pages import router as authorisation
from headwater.data.catalogue.pages import router as catalogue
from headwater.data.portal.pages import router as portal
from headwater.data.privacy.pages import router as privacy

router = APIRouter()
router.include_router(catalogue)
router.include_router(authorisation)
router.include_router(portal)
router.include_router(privacy)
