"""All routes of the protocols, for the room's `api.py`."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.data.protocols import descriptions
from headwater.data.protocols.ckan import api as ckan
from headwater.data.protocols.delta import api as delta
from headwater.data.protocols.hub import api as hub

router = APIRouter()
for part in (ckan, delta, hub, descriptions):
    router.include_router(part.router)
