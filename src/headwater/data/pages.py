"""Every console page of the data room."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.authorisation.pages import router as authorisation
from headwater.data.catalogue.pages import router as catalogue

router = APIRouter()
router.include_router(catalogue)
router.include_router(authorisation)
