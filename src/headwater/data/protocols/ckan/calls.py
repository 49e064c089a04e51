"""One call of a CKAN action that reads: who asks, with what, over which database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from headwater.core.identity import Actor
from headwater.data.catalogue.vocabulary import Vocabulary
from headwater.data.protocols.ckan import packages
from headwater.data.protocols.ckan.params import Params
from headwater.data.protocols.offers import Links, Offer

MOST_ROWS = 1000
"""Packages in one answer."""
MOST_NAMES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The call."""

    connection: Connection
    vocabulary: Vocabulary
    links: Links
    language: str
    params: Params
    actor: Actor | None
    now: datetime

    def package(self, offer: Offer) -> dict[str, Any]:
        """Return an offer as a package."""
        return packages.package(offer, self.links, self.language)

    def page(self, *, otherwise: int = MOST_NAMES, most: int = MOST_NAMES) -> tuple[int, int]:
        """Return the parameters offset and limit."""
        return self.params.whole("offset", 0, most=MOST_NAMES), self.params.whole("limit", otherwise, most=most)
