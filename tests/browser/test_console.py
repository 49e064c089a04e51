"""The console in a real browser: sign in, watch a project run, open its trust report, switch language, on a phone too."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions as until
from selenium.webdriver.support.ui import Select, WebDriverWait

from headwater.server.console import MENU
from tests.browser.conftest import Console, Open

SLOW = """schema: headwater.project/1
name: slow
title: {zh: 慢慢来, en: Taking its time}
steps:
  first: {run: [sh, -c, "for i in 1 2 3 4 5 6; do echo line $i; sleep 0.5; done"]}
  second: {run: [sh, -c, "echo and then; sleep 1"], needs: [first]}
"""


def text(window: Any, selector: str) -> str:
    """Return what an element reads now; empty where it is not there. One look, as the page may change between two."""
    return str(window.execute_script("return document.querySelector(arguments[0])?.innerText ?? ''", selector))


def wait(window: Any, seconds: float = 60) -> WebDriverWait[Any]:
    """Return a patient look at the window."""
    return WebDriverWait(window, seconds, poll_frequency=0.1)


def complaints(window: Any) -> list[str]:
    """Return what the browser itself complained of: blocked scripts, missing files, faults."""
    return [entry["message"] for entry in window.get_log("browser") if entry["level"] == "SEVERE"]


def test_a_person_watches_a_project_run_without_touching_the_page(console: Console, browser: Open, tmp_path: Path) -> None:
    project = tmp_path / "project.yaml"
    project.write_text(SLOW, encoding="utf-8")
    window = browser()
    run = console.submit(project)
    window.get(f"{console.address}/runs/{run}")
    window.execute_script("window.untouched = true")
    seen = set()

    def ended(_: Any) -> bool:
        seen.add(text(window, "#job-0 .state"))
        return text(window, "#summary .state") == "done"

    wait(window).until(ended)
    assert {"running", "done"} <= seen
    assert text(window, "#job-1 .state") == "done"
    assert window.execute_script("return window.untouched") is True
    assert complaints(window) == []


def test_a_jobs_log_grows_on_its_page_while_it_runs(console: Console, browser: Open, tmp_path: Path) -> None:
    project = tmp_path / "project.yaml"
    project.write_text(SLOW.replace("name: slow", "name: slower"), encoding="utf-8")
    window = browser()
    run = console.submit(project)
    window.get(f"{console.address}/jobs/{run}.first")
    wait(window).until(lambda _: "line 1" in text(window, "#log"))
    assert "line 6" not in text(window, "#log")
    wait(window).until(lambda _: text(window, "#job .state") == "done")
    assert re.findall(r"line (\d)", text(window, "#log")) == ["1", "2", "3", "4", "5", "6"]


def test_the_trust_report_opens_from_the_run_and_from_the_model(console: Console, browser: Open, credit: str) -> None:
    window = browser()
    window.get(f"{console.address}/runs/{credit}")
    window.find_element(By.LINK_TEXT, "Open the trust report").click()
    window.switch_to.frame(window.find_element(By.CSS_SELECTOR, "iframe.report"))
    assert "Fairness" in text(window, "body")
    window.switch_to.default_content()
    window.get(f"{console.address}/models/credit")
    window.find_element(By.LINK_TEXT, "Open the trust report").click()
    assert text(window, "h1") == "Trust report"
    assert complaints(window) == []


def test_the_report_may_run_no_script_and_reach_nothing(console: Console, browser: Open, credit: str) -> None:
    window = browser()
    window.get(f"{console.address}/jobs/{credit}.evaluate/report")
    window.get(window.find_element(By.CSS_SELECTOR, "iframe.report").get_attribute("src"))
    assert window.execute_script("return window.origin") == "null"


def test_a_person_asks_the_model_with_the_form(console: Console, browser: Open, credit: str) -> None:
    window = browser()
    window.get(f"{console.address}/models/credit")
    duration = window.find_element(By.NAME, "value-duration")
    duration.clear()
    duration.send_keys("24")
    status = Select(window.find_element(By.NAME, "value-status"))
    status.select_by_index(len(status.options) - 1)
    window.find_element(By.XPATH, "//button[text()='Ask the model']").click()
    wait(window).until(until.presence_of_element_located((By.ID, "answer")))
    shares = [float(one) for one in re.findall(r"([\d.]+) %", text(window, "#answer"))]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert window.find_element(By.NAME, "value-duration").get_attribute("value") == "24"


def test_the_language_is_switched_and_stays(console: Console, browser: Open, credit: str) -> None:
    window = browser()
    window.get(f"{console.address}/runs/{credit}")
    assert text(window, "h1") == "Credit risk, an example"
    window.find_element(By.LINK_TEXT, "中文").click()
    assert text(window, "nav.menu [aria-current]") == "项目"
    assert text(window, "#summary .state") == "完成"
    window.get(f"{console.address}/ledger")
    assert text(window, "h1") == "账本"
    window.find_element(By.LINK_TEXT, "English").click()
    assert text(window, "h1") == "Ledger"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_scrolls_sideways_on_a_phone(console: Console, browser: Open, credit: str, language: str) -> None:
    window = browser(width=360, height=740, language=language)
    case = console.api.get("/api/cases").json()[0]["id"]
    statement = console.api.get("/api/statements").json()[0]["digest"]
    paths = [entry.path for entry in MENU] + ["/account", "/reference", "/plan/T03", "/ledger?verify=1", "/models/credit"]
    paths += [f"/runs/{credit}", f"/jobs/{credit}.evaluate", f"/cases/{case}", f"/statements/{statement}", "/nothing-here"]
    wide = []
    for path in paths:
        window.get(console.address + path)
        if window.execute_script("return document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            wide.append(path)
    assert wide == []


def test_the_keyboard_alone_reaches_the_content(console: Console, browser: Open) -> None:
    window = browser()
    window.get(f"{console.address}/plan")
    window.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    skip = window.switch_to.active_element
    assert skip.get_attribute("class") == "skip"
    assert skip.rect["x"] >= 0
    skip.send_keys(Keys.ENTER)
    assert window.switch_to.active_element.get_attribute("id") == "main"


def test_dark_follows_the_system(console: Console, browser: Open) -> None:
    window = browser()

    def brightness(scheme: str) -> int:
        window.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        colour = window.execute_script("return getComputedStyle(document.documentElement).backgroundColor")
        return sum(int(part) for part in re.findall(r"\d+", colour)[:3])

    assert brightness("dark") < 150 < 600 < brightness("light")


def test_everything_works_without_scripts(console: Console, browser: Open, credit: str) -> None:
    window = browser(scripts=False)
    window.get(f"{console.address}/runs/{credit}")
    assert "done" in text(window, "#summary")
    window.find_element(By.LINK_TEXT, "evaluate").click()
    assert text(window, "h1") == "evaluate"
    window.find_element(By.CSS_SELECTOR, "form[action='/sign-out'] button").click()
    WebDriverWait(window, 10).until(lambda _: text(window, "h1") == "Sign in")
