"""Every route of the data room."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.authorisation.api import router as authorisation
from headwater.data.catalogue.api import router as catalogue

router = APIRouter()
router.include_router(catalogue)
router.include_router(authorisation)
