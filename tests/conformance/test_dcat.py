"""DCAT-AP: parsed by rdflib, held against SHACL shapes by pyshacl, page by page as a harvester goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.conformance.conftest import Portal

rdflib = pytest.importorskip("rdflib", reason="needs rdflib")
pyshacl = pytest.importorskip("pyshacl", reason="needs pyshacl (requirements/dev.txt)")

SHAPES = Path(__file__).parent / "shapes" / "dcat-ap.ttl"
DCAT = rdflib.Namespace("http://www.w3.org/ns/dcat#")
DCT = rdflib.Namespace("http://purl.org/dc/terms/")
HYDRA = rdflib.Namespace("http://www.w3.org/ns/hydra/core#")
ODRL = rdflib.Namespace("http://www.w3.org/ns/odrl/2/")
FORMS = {"ttl": ("turtle", "text/turtle"), "xml": ("xml", "application/rdf+xml"), "rdf": ("xml", "application/rdf+xml")}
FORMS |= {"jsonld": ("json-ld", "application/ld+json"), "n3": ("n3", "text/n3")}


def graph(portal: Portal, path: str, form: str) -> Any:
    """Return the graph at an address, read by rdflib."""
    answer = portal.get(f"{path}.{form}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].partition(";")[0] == FORMS[form][1]
    return rdflib.Graph().parse(data=answer.text, format=FORMS[form][0])


@pytest.mark.parametrize("path", ["/catalog", "/dataset/bus-stops", "/dataset/firm-credit", "/dataset/plain-words"])
def test_every_form_holds_the_same_graph_and_fits_the_shapes(portal: Portal, path: str) -> None:
    graphs = {form: graph(portal, path, form) for form in FORMS}
    told = {form: {triple for triple in one if not any("/catalog." in str(part) for part in triple)} for form, one in graphs.items()}
    assert len(told["ttl"]) > 30
    assert {form: one ^ told["ttl"] for form, one in told.items()} == {form: set() for form in FORMS}
    conforms, _, report = pyshacl.validate(graphs["ttl"], shacl_graph=str(SHAPES), inference="none")
    assert conforms, report


def test_the_shapes_refuse_a_catalogue_that_lacks_what_they_ask(portal: Portal) -> None:
    found = graph(portal, "/dataset/bus-stops", "ttl")
    found.remove((None, DCT.publisher, None))
    found.remove((None, DCAT.accessURL, None))
    conforms, _, report = pyshacl.validate(found, shacl_graph=str(SHAPES), inference="none")
    assert not conforms
    assert report.count("Constraint Violation") >= 2


def test_a_data_set_names_its_files_licence_terms_and_both_languages(portal: Portal) -> None:
    found = graph(portal, "/dataset/bus-stops", "jsonld")
    node = rdflib.URIRef(f"{portal.address}/dataset/bus-stops")
    assert {(one.language, str(one)) for one in found.objects(node, DCT.title)} == {("en", "Bus stops"), ("zh", "公交站点")}
    files = [found.value(one, DCAT.downloadURL) for one in found.objects(node, DCAT.distribution)]
    assert all(portal.get(str(one).removeprefix(portal.address)).status_code == 200 for one in files)
    policy = found.value(node, ODRL.hasPolicy)
    assert found.value(found.value(policy, ODRL.permission), ODRL.action) == ODRL.use


def test_a_data_set_that_is_not_open_offers_its_zones_bounds_and_no_download(portal: Portal) -> None:
    found = graph(portal, "/dataset/firm-credit", "ttl")
    assert list(found.objects(None, DCAT.downloadURL)) == []
    offered = found.value(predicate=rdflib.RDF.type, object=ODRL.Offer)
    assert found.value(found.value(offered, ODRL.prohibition), ODRL.action) == ODRL.distribute
    purposes = {str(one) for one in found.objects(None, ODRL.rightOperand)}
    assert {"credit_assessment", "CN-BJ"} <= purposes


def test_pages_name_the_next_until_every_data_set_was_told_once(portal: Portal) -> None:
    told = graph(portal, "/catalog", "ttl")
    catalog = told.value(predicate=rdflib.RDF.type, object=DCAT.Catalog)
    total = int(told.value(catalog, HYDRA.totalItems))
    assert len(set(told.objects(catalog, DCAT.dataset))) == min(total, 100)
    view = told.value(catalog, HYDRA.view)
    assert str(told.value(view, HYDRA.first)) == f"{portal.address}/catalog.ttl?page=1"
    assert told.value(view, HYDRA.next) is None


def test_a_part_of_the_catalogue_is_told_by_zone_and_words(portal: Portal) -> None:
    answer = portal.get("/catalog.ttl", params={"zone": "finance"})
    found = rdflib.Graph().parse(data=answer.text, format="turtle")
    assert {str(one).rpartition("/")[2] for one in found.subjects(rdflib.RDF.type, DCAT.Dataset)} == {"firm-credit"}


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/catalog.ttl?page=0", 422),
        ("/catalog.ttl?page=2", 404),
        ("/catalog.ttl?page=x", 422),
        ("/catalog.doc", 422),
        ("/dataset/nothing.ttl", 404),
        ("/dataset/bus-stops.exe", 422),
        ("/catalog.ttl?q=" + "x" * 300, 422),
        ("/dataset/" + "x" * 200 + ".ttl", 422),
    ],
)
def test_wrong_pages_forms_and_names_are_told(portal: Portal, path: str, status: int) -> None:
    answer = portal.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("host", ["evil.example/<script>", "a b", "x\u0022y"])
def test_a_host_that_is_none_does_not_get_into_the_graph(portal: Portal, host: str) -> None:
    answer = portal.get("/catalog.ttl", headers={"host": host})
    assert answer.status_code in (400, 422)
    assert "script" not in answer.text
