"""The catalogue as a DCAT-AP graph, a page of data sets at a time, and the graph as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from headwater.core.errors import NotFound
from headwater.data.protocols.dcat.graph import PREFIXES, Writer, add_dataset, add_organisation, code, moment, resource, term
from headwater.data.protocols.offers import Links, Offer, Organisation

if TYPE_CHECKING:
    from rdflib import Graph
    from rdflib.term import Node

PER_PAGE = 100


class Form(StrEnum):
    """How a graph is written."""

    TTL = "ttl"
    N3 = "n3"
    XML = "xml"
    RDF = "rdf"
    JSONLD = "jsonld"


WRITERS = {Form.TTL: "turtle", Form.N3: "n3", Form.XML: "pretty-xml", Form.RDF: "pretty-xml", Form.JSONLD: "json-ld"}
MEDIA_TYPES = {
    Form.TTL: "text/turtle",
    Form.N3: "text/n3",
    Form.XML: "application/rdf+xml",
    Form.RDF: "application/rdf+xml",
    Form.JSONLD: "application/ld+json",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One page of the catalogue: which, of how many, and the address without the page's number."""

    page: int
    pages: int
    total: int
    address: str

    def of(self, page: int) -> str:
        """Return the address of a page."""
        return f"{self.address}{'&' if '?' in self.address else '?'}page={page}"


def cut(found: Sequence[Offer], page: int, address: str) -> tuple[Sequence[Offer], View]:
    """Return the data sets of one page, which are counted from 1. Raises NotFound past the last."""
    pages = max(1, -(-len(found) // PER_PAGE))
    if page > pages:
        raise NotFound(f"There is no page {page}.", f"The last one is {pages}.")
    return found[(page - 1) * PER_PAGE : page * PER_PAGE], View(page=page, pages=pages, total=len(found), address=address)


def describe(found: Sequence[Offer], view: View, publisher: Organisation, links: Links) -> Graph:
    """Return the graph of one page of the catalogue."""
    from rdflib import RDF, Literal

    writer = Writer(links)
    datasets = [add_dataset(writer, one) for one in found]
    catalog = writer.node(
        f"{links.base}/datasets",
        "dcat_Catalog",
        dct_title=[Literal("Public data", lang="en"), Literal("公共数据", lang="zh")],
        dct_description=[
            Literal(f"Public data of {publisher.title}: each data set with its terms, quality and versions.", lang="en"),
            Literal(f"{publisher.title}的公共数据：每个数据集附带使用条款、质量与版本。", lang="zh"),
        ],
        dct_publisher=add_organisation(writer, publisher),
        dct_language=[code(writer, "language", one, "dct_LinguisticSystem") for one in ("ENG", "ZHO")],
        dct_modified=moment(max((one.dataset.modified_at for one in found), default=None)),
        foaf_homepage=writer.node(f"{links.base}/datasets", "foaf_Document"),
        dcat_dataset=datasets,
        dcat_service=services(writer, links),
    )
    page = resource(view.of(view.page))
    writer.say(catalog, hydra_view=page, hydra_totalItems=Literal(view.total))
    writer.graph.add((page, RDF.type, term("hydra_PartialCollectionView")))
    writer.say(page, hydra_first=resource(view.of(1)), hydra_last=resource(view.of(view.pages)))
    writer.say(page, hydra_previous=resource(view.of(view.page - 1)) if view.page > 1 else None)
    writer.say(page, hydra_next=resource(view.of(view.page + 1)) if view.page < view.pages else None)
    return writer.graph


def services(writer: Writer, links: Links) -> list[Node]:
    """Add the services that give access to the data sets."""
    from rdflib import Literal

    told = (
        ("ckan", "CKAN Action API", f"{links.base}/ckan/api/3/action", "https://docs.ckan.org/en/2.11/api/"),
        ("delta", "Delta Sharing", f"{links.base}/delta", "https://github.com/delta-io/delta-sharing/blob/main/PROTOCOL.md"),
    )
    return [
        writer.node(
            f"{links.base}/datasets#{key}",
            "dcat_DataService",
            dct_title=Literal(title),
            dcat_endpointURL=resource(endpoint),
            dct_conformsTo=writer.node(standard, "dct_Standard"),
        )
        for key, title, endpoint, standard in told
    ]


def write(graph: Graph, form: Form) -> bytes:
    """Return a graph as text in a form."""
    if form is Form.JSONLD:
        told = _ordered(json.loads(graph.serialize(format="json-ld", context=PREFIXES)))
        return (json.dumps(told, ensure_ascii=False, indent=1, sort_keys=True) + "\n").encode()
    return graph.serialize(format=WRITERS[form], encoding="utf-8")


def _ordered(value: Any) -> Any:
    """Return JSON-LD with its sets in one order: rdflib writes them in any."""
    if isinstance(value, dict):
        return {key: _ordered(one) for key, one in value.items()}
    if isinstance(value, list):
        return sorted((_ordered(one) for one in value), key=lambda one: json.dumps(one, sort_keys=True))
    return value
