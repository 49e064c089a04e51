"""What the protocols say of a data set, from the data set alone."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime

import pytest

from headwater.data.catalogue.sets import Column, DataSet, File, Version
from headwater.data.catalogue.vocabulary import Vocabulary
from headwater.data.lineage import Made
from headwater.data.portal import drawing
from headwater.data.portal.snippets import snippets
from headwater.data.protocols import frictionless
from headwater.data.protocols.ckan import packages
from headwater.data.protocols.hub import repository
from headwater.data.protocols.offers import Links, Offer, Organisation

AT = datetime(2026, 3, 1, tzinfo=UTC)
LINKS = Links(base="https://data.example")
HOSTILE = "a'; rm -rf ~ #\"$(x) <b>.csv"


def offer(**more: object) -> Offer:
    """Return an offer whose texts are as hostile as the catalogue lets them be."""
    told: dict[str, object] = {
        "id": "0b0e7a52-6a38-4a9e-9a0e-000000000000",
        "name": "bus-stops",
        "title": {"zh": "公交", "en": 'Bus\n---\nlicense: "x"'},
        "about": {"zh": "公交", "en": "Stops"},
        "organisation": "city/haidian",
        "licence": "CC-BY-4.0",
        "zone": "transport",
        "keywords": ("stops", "x: [y]"),
        "openness": "open",
        "rhythm": "monthly",
        "contact": "",
        "spatial": None,
        "temporal": None,
        "created_by": "p",
        "created_at": AT,
        "issued_at": AT,
        "modified_at": AT,
        "withdrawn_at": None,
        "withdrawn_because": None,
    }
    files = (
        File(name=HOSTILE, digest="sha256:" + "1" * 64, media_type="text/csv", bytes=3),
        File(name="table/t.parquet", digest="sha256:" + "2" * 64, media_type="application/vnd.apache.parquet", bytes=9, table=True, rows=2),
    )
    version = Version(
        dataset="x", number=3, digest="sha256:" + "3" * 64 + "/", columns=(Column(name="n", type="integer", about={}),), rows=2, bytes=12,
        files=files, quality={}, note="", delta=2, statement="", job=None, created_by="p", created_at=AT,
    )  # fmt: skip
    dataset = DataSet(**(told | more))  # type: ignore[arg-type]
    words = Vocabulary()
    organisation = Organisation(path=dataset.organisation, title="Haidian")
    return Offer(
        dataset=dataset, version=version, organisation=organisation, licence=words.licences["CC-BY-4.0"], zone=words.zones["transport"]
    )


def test_ids_stay_the_same_over_versions_and_differ_between_things() -> None:
    first, second = packages.package(offer(), LINKS, "en"), packages.package(offer(modified_at=AT.replace(year=2027)), LINKS, "en")
    assert [one["id"] for one in first["resources"]] == [one["id"] for one in second["resources"]]
    ids = [first["id"], first["owner_org"], first["groups"][0]["id"], *(one["id"] for one in first["resources"] + first["tags"])]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("openness", ["conditional", "authorised"])
def test_no_protocol_gives_an_address_of_rows_that_are_not_for_all(openness: str) -> None:
    closed = offer(openness=openness)
    told = f"{packages.package(closed, LINKS, 'en')} {frictionless.package(closed, LINKS, 'en')}"
    assert "/files/" not in told
    assert repository.info(closed, closed.version)["gated"] == "manual"


def test_snippets_quote_whatever_a_file_is_called() -> None:
    for one in snippets(offer(), offer().version, LINKS):
        assert one.text.isascii(), one.tool
        if one.language == "shell":
            words = shlex.split(one.text)
            assert words[0] == "curl"
            assert all(word == "-O" or word.startswith(("-fsSL", "https://data.example/")) for word in words[1:])
        else:
            compile(one.text, one.tool, "exec")


def test_the_readme_holds_the_cards_fields_and_no_text_breaks_out_of_them() -> None:
    import yaml

    text = repository.readme(offer(), offer().version, LINKS).decode()
    head = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    assert set(head) == {"pretty_name", "license", "tags", "configs"}
    assert head["license"] == "cc-by-4.0"
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": ["table/t.parquet"]}]


def test_a_package_names_each_file_once_in_the_letters_that_are_allowed() -> None:
    names = [one["name"] for one in frictionless.package(offer(), LINKS, "en")["resources"]]
    assert len(set(names)) == len(names) == 2
    assert all(set(one) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-_") for one in names)


def made(digest: str, *inputs: str) -> Made:
    return Made(
        digest=f"sha256:{digest * 64}", statement="s", step="data.clean", job="j", at=AT, parameters={}, depth=0,
        inputs={f"in{place}": f"sha256:{one * 64}" for place, one in enumerate(inputs)},
    )  # fmt: skip


def test_a_lineage_is_drawn_from_left_to_right_with_each_part_once() -> None:
    picture = drawing.draw(
        "sha256:" + "a" * 64, "bus-stops/3", [made("a", "b", "c"), made("b", "d"), made("c", "d")], {"d" * 64: ("raw/1", "/dataset/raw")}
    )
    places = {box.name: box for box in picture.boxes}
    assert len(picture.boxes) == 4
    assert places["raw/1"].x < places["in0"].x < places["bus-stops/3"].x
    assert (places["raw/1"].href, places["bus-stops/3"].here, len(picture.lines)) == ("/dataset/raw", True, 4)


def test_a_lineage_that_goes_in_a_circle_or_is_huge_is_drawn_all_the_same() -> None:
    circle = drawing.draw("sha256:" + "a" * 64, "x", [made("a", "b"), made("b", "a")], {})
    assert len(circle.boxes) == 2
    many = Made(
        digest="sha256:" + "a" * 64, statement="s", step="x", job=None, at=AT, parameters={}, depth=0,
        inputs={str(number): f"sha256:{number:064x}" for number in range(500)},
    )  # fmt: skip
    picture = drawing.draw("sha256:" + "a" * 64, "x", [many], {})
    assert (len(picture.boxes), picture.left_out) == (drawing.MOST_BOXES, 501 - drawing.MOST_BOXES)
