"""Every route of the data room."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.authorisation.api import router as authorisation
from headwater.data.catalogue.api import router as catalogue
from headwater.data.privacy.api import router as privacy
from headwater.data.protocols.api import router as protocols

router = APIRouter()
router.include_router(catalogue)
router.include_router(authorisation)
router.include_router(protocols)
router.include_router(privacy)
