"""Data sets as a DCAT-AP graph.

Sources: DCAT-AP 3.0 (SEMIC), W3C DCAT 3, ODRL 2.2; code lists of the EU Publications Office. What is not
known is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from headwater.core.clock import to_text
from headwater.data.catalogue.sets import DataSet, File
from headwater.data.protocols.offers import Links, Offer, Organisation

if TYPE_CHECKING:
    from rdflib import Graph, URIRef
    from rdflib.term import Node

    Told = Node | Sequence[Node] | None

AUTHORITY = "http://publications.europa.eu/resource/authority"
FREQUENCIES = {
    "daily": "DAILY",
    "weekly": "WEEKLY",
    "monthly": "MONTHLY",
    "quarterly": "QUARTERLY",
    "yearly": "ANNUAL",
    "irregular": "IRREG",
    "once": "NEVER",
}
RIGHTS = {"open": "PUBLIC", "conditional": "RESTRICTED", "authorised": "NON_PUBLIC"}
THEMES = {"finance": "ECON", "transport": "TRAN", "spatial": "REGI"}
FILE_TYPES = {"Parquet": "PARQUET", "CSV": "CSV", "JSON": "JSON", "ZIP": "ZIP", "XLSX": "XLSX", "XML": "XML"}
PREFIXES = {
    "dcat": "http://www.w3.org/ns/dcat#",
    "dcatap": "http://data.europa.eu/r5r/",
    "dct": "http://purl.org/dc/terms/",
    "foaf": "http://xmlns.com/foaf/0.1/",
    "hydra": "http://www.w3.org/ns/hydra/core#",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "skos": "http://www.w3.org/2004/02/skos/core#",
    "spdx": "http://spdx.org/rdf/terms#",
    "vcard": "http://www.w3.org/2006/vcard/ns#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}


class Writer:
    """Collects statements; `say` takes names with prefixes, such as `dct:title`."""

    def __init__(self, links: Links) -> None:
        from rdflib import Graph

        self.graph: Graph = Graph()
        self.links = links
        for prefix, address in PREFIXES.items():
            self.graph.bind(prefix, address, override=True)

    def say(self, subject: Node, **told: Told) -> None:
        """Add what is told of a subject; `dct_title=…` stands for `dct:title`, and None says nothing."""
        from rdflib.term import Node

        for name, values in told.items():
            for value in [values] if isinstance(values, Node) else values or ():
                self.graph.add((subject, term(name), value))

    def texts(self, told: Mapping[str, str]) -> list[Node]:
        """Return texts with their languages."""
        from rdflib import Literal

        return [Literal(text, lang=language) for language, text in sorted(told.items()) if text]

    def node(self, subject: str, kind: str, **told: Told) -> URIRef:
        """Add a thing of a class under an address, and return it."""
        from rdflib import RDF, URIRef

        found = URIRef(subject)
        self.graph.add((found, RDF.type, term(kind)))
        self.say(found, **told)
        return found


def term(name: str) -> URIRef:
    """Return the address of `prefix_name`."""
    from rdflib import URIRef

    prefix, _, local = name.partition("_")
    return URIRef(PREFIXES[prefix] + local)


def describe(offer: Offer, links: Links) -> Graph:
    """Return the graph of one data set."""
    writer = Writer(links)
    add_dataset(writer, offer)
    return writer.graph


def add_dataset(writer: Writer, offer: Offer) -> URIRef:
    """Add a data set with its distributions, publisher, contact and terms, and return its node."""
    from rdflib import Literal

    dataset, page = offer.dataset, writer.links.page(offer.dataset.name)
    return writer.node(
        page,
        "dcat_Dataset",
        dct_identifier=Literal(dataset.id),
        dct_title=writer.texts(dataset.title),
        dct_description=writer.texts(dataset.about),
        dct_publisher=add_organisation(writer, offer.organisation),
        dct_issued=moment(dataset.issued_at),
        dct_modified=moment(dataset.modified_at),
        dct_accrualPeriodicity=code(writer, "frequency", FREQUENCIES[dataset.rhythm], "dct_Frequency"),
        dct_accessRights=code(writer, "access-right", RIGHTS[dataset.openness], "dct_RightsStatement"),
        dct_spatial=place(writer, dataset),
        dct_temporal=period(writer, dataset, page),
        dcat_theme=theme(writer, offer),
        dcat_keyword=[Literal(word) for word in dataset.keywords],
        dcat_version=Literal(str(offer.version.number)),
        dcat_landingPage=writer.node(page, "foaf_Document"),
        dcat_contactPoint=contact(writer, offer, page),
        dcat_distribution=[add_distribution(writer, offer, file) for file in offer.version.files],
        odrl_hasPolicy=add_policy(writer, offer, page),
    )


def add_distribution(writer: Writer, offer: Offer, file: File) -> URIRef:
    """Add a file as a distribution. Only an open data set's has an address to download it from."""
    from rdflib import XSD, Literal, URIRef

    from headwater.data.protocols.ckan.packages import format_of

    page, links = writer.links.page(offer.dataset.name), writer.links
    download = URIRef(links.file(offer.dataset.name, offer.version.number, file.name)) if offer.open else None
    node = f"{page}#file-{offer.resource_id(file)}"
    checksum = writer.node(
        f"{node}-checksum",
        "spdx_Checksum",
        spdx_algorithm=writer.node("http://spdx.org/rdf/terms#checksumAlgorithm_sha256", "spdx_ChecksumAlgorithm"),
        spdx_checksumValue=Literal(file.digest.removeprefix("sha256:"), datatype=XSD.hexBinary),
    )
    known = FILE_TYPES.get(format_of(file))
    return writer.node(
        node,
        "dcat_Distribution",
        dct_title=Literal(file.name),
        dct_identifier=Literal(offer.resource_id(file)),
        dcat_accessURL=download or URIRef(page),
        dcat_downloadURL=download,
        dcat_mediaType=writer.node(f"https://www.iana.org/assignments/media-types/{quote(file.media_type)}", "dct_MediaType"),
        dct_format=code(writer, "file-type", known, "dct_MediaTypeOrExtent") if known else None,
        dcat_byteSize=Literal(str(file.bytes), datatype=XSD.nonNegativeInteger),
        dct_license=licence(writer, offer),
        dct_modified=moment(offer.version.created_at),
        spdx_checksum=checksum,
    )


def add_organisation(writer: Writer, organisation: Organisation) -> URIRef:
    """Add a publisher and return its node."""
    from rdflib import Literal

    node = f"{writer.links.base}/datasets?organisation={quote(organisation.path, safe='')}"
    return writer.node(node, "foaf_Agent", foaf_name=Literal(organisation.title), dct_identifier=Literal(organisation.path))


def add_policy(writer: Writer, offer: Offer, page: str) -> URIRef:
    """Add the terms: everyone may use an open data set under its licence; any other is offered within its zone's bounds."""
    from rdflib import Literal

    if offer.open:
        permission = writer.node(f"{page}#use", "odrl_Permission", odrl_action=term("odrl_use"), odrl_target=resource(page))
        return writer.node(f"{page}#terms", "odrl_Set", odrl_uid=Literal(f"{page}#terms"), odrl_permission=permission)
    bounds = {"purpose": offer.zone.purposes, "spatial": offer.zone.regions} if offer.zone else {}
    constraints: list[Node] = [
        writer.node(
            f"{page}#{operand}",
            "odrl_Constraint",
            odrl_leftOperand=term(f"odrl_{operand}"),
            odrl_operator=term("odrl_isAnyOf"),
            odrl_rightOperand=[Literal(one) for one in values],
        )
        for operand, values in bounds.items()
    ]
    action = "odrl_read" if offer.dataset.openness == "conditional" else "odrl_aggregate"
    permission = writer.node(
        f"{page}#use", "odrl_Permission", odrl_action=term(action), odrl_target=resource(page), odrl_constraint=constraints
    )
    prohibition = writer.node(f"{page}#onward", "odrl_Prohibition", odrl_action=term("odrl_distribute"), odrl_target=resource(page))
    publisher = add_organisation(writer, offer.organisation)
    told = {"odrl_permission": permission, "odrl_assigner": publisher, "odrl_uid": Literal(f"{page}#terms")}
    return writer.node(
        f"{page}#terms", "odrl_Offer", **told, odrl_prohibition=None if offer.zone and offer.zone.onward_sharing else prohibition
    )


def licence(writer: Writer, offer: Offer) -> URIRef | None:
    """Add the licence and return its node; None where it has no address."""
    found = offer.licence
    if found is None or not found.url:
        return None
    return writer.node(
        quote(found.url, safe=":/?#[]@!$&'()*+,;=%"), "dct_LicenseDocument", dct_title=writer.texts(found.title.model_dump())
    )


def theme(writer: Writer, offer: Offer) -> list[Node]:
    """Return the themes: the zone as a concept of ours, and the EU's data theme where one fits."""
    if offer.zone is None:
        return []
    own = writer.node(
        f"{writer.links.base}/datasets?zone={quote(offer.zone.id)}",
        "skos_Concept",
        skos_prefLabel=writer.texts(offer.zone.title.model_dump()),
    )
    known = THEMES.get(offer.zone.id)
    return [own, code(writer, "data-theme", known, "skos_Concept")] if known else [own]


def code(writer: Writer, scheme: str, value: str, kind: str) -> URIRef:
    """Return an entry of an EU code list, with its class."""
    return writer.node(f"{AUTHORITY}/{scheme}/{value}", kind)


def place(writer: Writer, dataset: DataSet) -> URIRef | None:
    """Return the place that a data set is about, by its ISO 3166 code."""
    from rdflib import Literal

    if not dataset.spatial:
        return None
    return writer.node(f"urn:iso:std:iso:3166:{quote(dataset.spatial)}", "dct_Location", dct_identifier=Literal(dataset.spatial))


def period(writer: Writer, dataset: DataSet, page: str) -> URIRef | None:
    """Return the days that a data set speaks of."""
    from rdflib import XSD, Literal

    if dataset.temporal is None:
        return None
    first, last = (Literal(day, datatype=XSD.date) if day else None for day in dataset.temporal)
    return writer.node(f"{page}#period", "dct_PeriodOfTime", dcat_startDate=first, dcat_endDate=last)


def contact(writer: Writer, offer: Offer, page: str) -> URIRef | None:
    """Return the contact, where one is given: an e-mail address or a page as such, whatever else as a name."""
    from rdflib import Literal

    given = offer.dataset.contact.strip()
    if not given:
        return None
    mail = resource(f"mailto:{quote(given, safe='@+')}") if "@" in given and " " not in given else None
    site = resource(quote(given, safe=":/?#[]@!$&'()*+,;=%")) if given.startswith(("http://", "https://")) else None
    name = Literal(offer.organisation.title if mail or site else given)
    return writer.node(f"{page}#contact", "vcard_Kind", vcard_fn=name, vcard_hasEmail=mail, vcard_hasURL=site)


def resource(address: str) -> URIRef:
    """Return a node by its address."""
    from rdflib import URIRef

    return URIRef(address)


def moment(at: datetime | None) -> Node | None:
    """Return a time, or None."""
    from rdflib import XSD, Literal

    return Literal(to_text(at), datatype=XSD.dateTime) if at is not None else None
