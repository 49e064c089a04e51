"""The public portal in a real browser: no sign-in, phone and desk, keyboard, no scripts, both languages."""

from __future__ import annotations

import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from headwater.core import platform, settings
from tests.browser.conftest import Console, Open
from tests.conformance.conftest import STOPS, publish


@pytest.fixture(scope="module")
def filled(console: Console, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the address of a server with an open and a conditional data set."""
    folder = tmp_path_factory.mktemp("portal")
    with platform.opened(settings.load(data_folder=console.data)) as site:
        publish(site, folder, {"stops.csv": STOPS}, name="stops-shown")
        publish(
            site, folder, {"firms.csv": "firm\nA\n"}, name="firms-shown", openness="conditional", zone="finance", licence="terms-of-grant"
        )
    return console.address


PATHS = ("/datasets", "/datasets?q=nothing", "/dataset/stops-shown", "/dataset/firms-shown", "/dataset/nothing")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_scrolls_sideways_on_a_phone_and_none_needs_a_sign_in(filled: str, browser: Open, language: str) -> None:
    window = browser(width=360, height=740, language=language)
    window.delete_all_cookies()
    wide = []
    for path in PATHS:
        window.get(filled + path)
        assert "/sign-in" not in window.current_url
        if window.execute_script("return document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path)
    assert wide == []


def test_a_person_searches_looks_and_finds_the_download_without_scripts(filled: str, browser: Open) -> None:
    window = browser(scripts=False)
    window.delete_all_cookies()
    window.get(f"{filled}/datasets")
    box = window.find_element(By.ID, "q")
    box.send_keys("公交站点")
    box.send_keys(Keys.ENTER)
    window.find_element(By.CSS_SELECTOR, "a[href='/dataset/stops-shown']").click()
    assert "西直门" in window.find_element(By.TAG_NAME, "main").text
    assert window.find_element(By.CSS_SELECTOR, "a[download]").get_attribute("href").endswith("/files/stops.csv")


def test_the_keyboard_alone_reaches_content_and_snippets(filled: str, browser: Open) -> None:
    window = browser()
    window.delete_all_cookies()
    window.get(f"{filled}/dataset/stops-shown")
    window.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    window.switch_to.active_element.send_keys(Keys.ENTER)
    assert window.switch_to.active_element.get_attribute("id") == "main"
    second = window.find_elements(By.CSS_SELECTOR, "details > summary")[1]
    second.send_keys(Keys.ENTER)
    assert second.find_element(By.XPATH, "..").get_attribute("open") is not None


def test_the_language_is_switched_and_the_page_stays(filled: str, browser: Open) -> None:
    window = browser(language="en")
    window.delete_all_cookies()
    window.get(f"{filled}/dataset/stops-shown")
    window.find_element(By.LINK_TEXT, "中文").click()
    assert re.search(r"/dataset/stops-shown\?lang=zh", window.current_url)
    assert window.find_element(By.TAG_NAME, "h1").text == "公交站点"


def test_pages_complain_of_nothing(filled: str, browser: Open) -> None:
    window = browser()
    for path in PATHS[:4]:
        window.get(filled + path)
    assert [one for one in window.get_log("browser") if one["level"] == "SEVERE"] == []
