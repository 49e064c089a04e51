"""What the protocols' routes need from a request: the vocabulary, the links, who may read the rows."""

from __future__ import annotations

from fastapi import Request

from headwater.core.errors import Refused
from headwater.core.platform import Platform
from headwater.core.web import address_of
from headwater.data.catalogue.vocabulary import Vocabulary
from headwater.data.protocols.offers import Links, Offer


def vocabulary_of(platform: Platform) -> Vocabulary:
    """Return the zones and licences that a platform knows."""
    return Vocabulary(folder=platform.settings.data_folder)


def links_of(request: Request) -> Links:
    """Return the links under the address that outside clients use."""
    return Links(base=address_of(request))


def language_of(request: Request) -> str:
    """Return the language of texts that a protocol takes in one language only: Chinese for who asks for it, else English."""
    first = request.headers.get("accept-language", "").strip().lower()
    return "zh" if first.startswith("zh") else "en"


def refuse_rows(offer: Offer, links: Links) -> None:
    """Raise Refused unless a data set's rows are for all, saying how to apply."""
    if not offer.open:
        raise Refused(
            f"The data set '{offer.dataset.name}' is {offer.dataset.openness}: its files open under a grant only.",
            f"How to apply: {links.page(offer.dataset.name)}#apply",
        )
