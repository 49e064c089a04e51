"""A browser signs in with a provider on another site, which is where strict cookies and redirects go wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import FLAGS, PATIENCE_S, _address
from tests.flow.server.openid import CLIENT, SECRET, provider


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Give the address of a server that takes people of a provider at localhost: another site than 127.0.0.1."""
    (tmp_path / "secret").write_text(SECRET, encoding="utf-8")
    with provider() as openid:
        openid.issuer = openid.issuer.replace("127.0.0.1", "localhost")
        told = {
            "oidc_issuer": openid.issuer,
            "oidc_client_id": CLIENT,
            "oidc_client_secret_file": str(tmp_path / "secret"),
            "oidc_roles": json.dumps({"engineers": "developer@city"}),
        }
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_"))}
        command = [sys.executable, "-m", "headwater", "up", "--port", "0", "--data", str(tmp_path / "data")]
        environment = kept | {f"HEADWATER_{name.upper()}": value for name, value in told.items()}
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            yield _address(tmp_path / "data", process)
        finally:
            process.terminate()
            process.wait(timeout=PATIENCE_S)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Any]:
    """Give a Chromium window in which nobody is signed in."""
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if chromium is None or driver is None:
        pytest.skip("Chromium and its driver are not installed (python3 dev.py system)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, "--lang=en", f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    opened = webdriver.Chrome(options=options, service=Service(driver))
    yield opened
    opened.quit()


def test_a_person_arrives_signed_in_on_the_page_that_they_asked_for(address: str, window: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    window.get(f"{address}/jobs?lang=en")
    assert "/sign-in?next=" in window.current_url
    window.find_element("link text", "Sign in with your organisation's account").click()
    WebDriverWait(window, PATIENCE_S).until(lambda _: window.current_url.startswith(f"{address}/jobs"))
    assert window.find_element("link text", "lin.fang").is_displayed()
    window.find_element("css selector", "form[action='/sign-out'] button").click()
    WebDriverWait(window, PATIENCE_S).until(lambda _: "/sign-in" in window.current_url)
    window.get(f"{address}/jobs")
    assert "/sign-in?next=" in window.current_url
