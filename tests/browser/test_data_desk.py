"""The opening plan and an application for data in a real browser: from the form to the grant, by keyboard and on a phone."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.browser.conftest import Console, Open
from tests.browser.test_console import complaints, text

SHOTS = os.environ.get("SCREENSHOTS", "")


@pytest.fixture(scope="module")
def stops(console: Console) -> str:
    """Give a data set in authorised operation whose promise is long past its day, and return its identity."""
    described = {
        "name": "road-speeds",
        "title": {"zh": "路段车速", "en": "Speeds by road"},
        "about": {"zh": "分路段的平均车速。", "en": "Mean speed by stretch of road."},
        "licence": "terms-of-grant",
        "zone": "transport",
        "openness": "authorised",
    }
    assert console.api.post("/api/data/sets", json=described).status_code == 201
    made = console.api.post("/api/data/sets/road-speeds/versions", params={"file": "speeds.csv"}, content=b"road,speed\nA,31\nB,17\n")
    assert made.status_code == 201, made.text
    assert (
        console.api.post("/api/data/sets", json=described | {"name": "late-set", "title": {"zh": "迟到", "en": "Late"}}).status_code == 201
    )
    promise = {"due": "2026-01-05", "owner": "city", "rhythm": "monthly", "reason": "plan of 2026"}
    assert console.api.post("/api/data/sets/late-set/commitment", json=promise).status_code == 200
    return str(console.api.get("/api/data/sets/road-speeds").json()["identity"])


def shot(window: object, name: str) -> None:
    """Keep a picture where a folder for them is named."""
    if SHOTS:
        window.save_screenshot(str(Path(SHOTS) / f"{name}.png"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [1300, 390], ids=["desk", "phone"])
def test_what_is_late_shows_without_scripts_and_fits_the_window(console: Console, browser: Open, stops: str, width: int) -> None:
    window = browser(width=width, scripts=False)
    window.get(f"{console.address}/data/plan")
    assert "Late" in window.find_element(By.TAG_NAME, "main").text
    assert "working days late" in window.find_element(By.TAG_NAME, "main").text
    page = window.find_element(By.TAG_NAME, "html")
    assert int(page.get_property("scrollWidth")) <= width
    shot(window, f"plan-{width}")


def test_an_application_is_filled_in_and_its_grant_stands_on_the_desk(console: Console, browser: Open, stops: str) -> None:
    window = browser()
    window.get(f"{console.address}/cases/new?procedure=data-authorisation&field-dataset=road-speeds&field-resource={stops}")
    for name, value in (("purposes", "research"), ("regions", "CN-BJ"), ("uses", "5"), ("safeguards", "named people only")):
        window.find_element(By.ID, f"field-{name}").send_keys(value)
    for name, value in (("term_from", "2026-01-01"), ("term_until", "2027-12-31")):
        window.find_element(By.ID, f"field-{name}").send_keys(value)
    for name, value in (("mode", "authorised"), ("actions", "both")):
        window.find_element(By.CSS_SELECTOR, f"#field-{name} option[value={value}]").click()
    shot(window, "apply")
    window.find_element(By.CSS_SELECTOR, "main form button[type=submit]").click()
    WebDriverWait(window, 10).until(lambda _: "/cases/new" not in window.current_url)
    case = window.current_url.rpartition("/")[2]
    version = console.api.get(f"/api/cases/{case}").json()["version"]
    assert console.api.post(f"/api/cases/{case}/moves", json={"version": version, "transition": "submit"}).status_code == 200
    with httpx.Client(base_url=console.address, headers={"authorization": f"Bearer {officer(console)}"}) as other:
        granted = other.post(f"/api/cases/{case}/moves", json={"version": version + 1, "transition": "grant"})
        assert granted.status_code == 200, granted.text
    number = granted.json()["number"]
    asked = {"grant": number, "purpose": "research", "region": "CN-BJ"}
    assert console.api.post("/api/data/sets/road-speeds/links", json=asked | {"purpose": "advertising"}).status_code == 403
    assert console.api.post("/api/data/sets/road-speeds/links", json=asked).status_code == 200
    window.get(f"{console.address}/data/desk")
    assert number in text(window, "main")
    window.find_element(By.LINK_TEXT, number).click()
    seen = text(window, "main")
    assert "in force" in seen
    assert "the purpose 'advertising' is not granted" in seen
    shot(window, "grant")
    assert complaints(window) == []


def officer(console: Console) -> str:
    """Return the token of an officer of the city, made for this test."""
    person = console.api.post("/api/people", json={"name": "desk officer", "organisation": "city"}).json()["id"]
    grant = {"role": "officer", "scope": "city", "reason": "decides on applications"}
    assert console.api.post(f"/api/people/{person}/grants", json=grant).status_code in (200, 201, 204)
    return str(console.api.post(f"/api/people/{person}/tokens", json={"label": "test"}).json()["token"])
