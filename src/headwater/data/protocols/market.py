"""A data set as data markets take it: one ZIP with its card, terms, price ceilings, samples and checksums.

The same version, grants and prices give the same bytes. Rows are in it only where the data set is open.
The files are listed in `docs/protocols.md`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.core.store import Store
from headwater.data import cards
from headwater.data.authorisation.grants import Grant
from headwater.data.authorisation.products import Product
from headwater.data.cards import Shown
from headwater.data.export import csv_of
from headwater.data.protocols import frictionless
from headwater.data.protocols.dcat import catalog, graph
from headwater.data.protocols.dcat.catalog import Form
from headwater.data.protocols.offers import Links, Offer

SCHEMA = "headwater.market/1"
SAMPLE_ROWS = 100
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time that every member of the archive carries, so that it depends on its content alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A grant of the data set with what is offered under it."""

    grant: Grant
    products: Sequence[Product]


def archive(offer: Offer, shown: Shown, prices: Sequence[Priced], store: Store, links: Links) -> bytes:
    """Return the ZIP of a data set's newest version."""
    members = contents(offer, shown, prices, store, links)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        for name, data in sorted(members.items()):
            info = zipfile.ZipInfo(f"{offer.dataset.name}/{name}", EPOCH)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            made.writestr(info, data)
    return buffer.getvalue()


def contents(offer: Offer, shown: Shown, prices: Sequence[Priced], store: Store, links: Links) -> dict[str, bytes]:
    """Return the members by name, with the checksums of all others."""
    members = {
        "README.md": _readme(offer),
        "card.croissant.jsonld": _json(cards.croissant(shown, lambda file: _address(offer, links, file.name))),
        "catalogue.dcat.jsonld": catalog.write(graph.describe(offer, links), Form.JSONLD),
        "datapackage.json": _json(frictionless.package(offer, links, "en")),
        "terms.odrl.jsonld": terms(offer, links),
        "prices.json": _json(_prices(offer, prices)),
        "quality.json": _json(dict(offer.version.quality)),
        "manifest.json": _json(_manifest(offer)),
    }
    if offer.open and offer.version.table:
        members["samples/table.csv"] = b"".join(csv_of(store, offer.version, rows=SAMPLE_ROWS))
    listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(members.items()))
    return members | {"checksums.sha256": listed.encode()}


def terms(offer: Offer, links: Links) -> bytes:
    """Return the terms alone, as ODRL in JSON-LD."""
    writer = graph.Writer(links)
    graph.add_policy(writer, offer, links.page(offer.dataset.name))
    return catalog.write(writer.graph, Form.JSONLD)


def _prices(offer: Offer, prices: Sequence[Priced]) -> dict[str, Any]:
    """Return what may be charged at most and what is charged; an open data set costs nothing."""
    told: dict[str, Any] = {"schema": SCHEMA, "currency": "CNY", "unit": "fen", "open": offer.open}
    told["ceilings"] = [{"grant": one.grant.number, "ceiling": one.grant.policy.fee_ceiling_fen} for one in prices]
    offered = [(one.grant.number, product) for one in prices for product in one.products]
    told["products"] = [
        {"grant": number, "name": one.name, "kind": one.kind, "price": one.price_fen, "per": one.unit} for number, one in offered
    ]
    return told


def _manifest(offer: Offer) -> dict[str, Any]:
    version = offer.version
    return {
        "schema": SCHEMA,
        "dataset": {"id": offer.dataset.id, "name": offer.dataset.name, "organisation": offer.dataset.organisation},
        "version": {"number": version.number, "digest": version.digest, "statement": version.statement, "rows": version.rows},
        "openness": offer.dataset.openness,
        "files": [{"name": one.name, "digest": one.digest, "bytes": one.bytes, "media_type": one.media_type} for one in version.files],
        "columns": [{"name": one.name, "type": one.type, "unit": one.unit, "about": dict(one.about)} for one in version.columns],
    }


def _readme(offer: Offer) -> bytes:
    title, about = (" ".join(offer.told(text, "en").split()) for text in (offer.dataset.title, offer.dataset.about))
    rows = "The first rows are in `samples/`." if offer.open else "Rows are not in this archive: they are used under a grant."
    lines = (
        f"# {title}",
        about,
        f"Version {offer.version.number} of `{offer.dataset.name}`, published by {offer.organisation.title}.",
        rows,
    )
    return ("\n\n".join(lines) + "\n\nCheck with `sha256sum -c checksums.sha256`.\n").encode()


def _address(offer: Offer, links: Links, file: str) -> str:
    return links.file(offer.dataset.name, offer.version.number, file) if offer.open else links.page(offer.dataset.name)


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
