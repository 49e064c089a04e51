"""A real server, a real run of the credit recipe, and a headless Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import headwater
from headwater.projects.check import check

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
RECIPE = Path(headwater.__file__).parent / "recipes" / "credit" / "project.yaml"
PATIENCE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """A server that runs: its address, a client of its API, and its data folder."""

    address: str
    api: httpx.Client
    data: Path

    def way_in(self) -> str:
        """Return a new one-time link."""
        command = [sys.executable, "-m", "headwater", "admin-link", "--data", str(self.data)]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.strip()

    def submit(self, project: Path) -> str:
        """Hand a project in and return the run's id."""
        text = project.read_text(encoding="utf-8")
        checked = check(text, project.name, lambda name: (project.parent / name).is_file())
        files = {
            name: self.api.post("/api/artifacts", content=(project.parent / name).read_bytes()).json()["name"] for name in checked.files
        }
        answer = self.api.post("/api/runs", json={"text": text, "files": files})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def ended(self, run: str, within_s: float) -> str:
        """Return how a run ended."""
        until = time.monotonic() + within_s
        while (state := self.api.get(f"/api/runs/{run}").json()["state"]) == "running":
            assert time.monotonic() < until, "the run did not end"
            time.sleep(0.5)
        return str(state)


@pytest.fixture(scope="session")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """Give a server in a process of its own."""
    folder = tmp_path_factory.mktemp("console")
    data, printed = folder / "data", folder / "printed"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_"))}
    command = [sys.executable, "-m", "headwater"]
    with printed.open("w") as out, (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "up", "--port", "0", "--data", str(data)], stdout=out, stderr=log, env=environment)
    try:
        address = _address(data, process)
        made = [*command, "token", "create", "browser tests", "--json", "--data", str(data)]
        token = subprocess.run(made, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout.split('"')[3]
        with httpx.Client(base_url=address, headers={"authorization": f"Bearer {token}"}, timeout=PATIENCE_S) as api:
            yield Console(address=address, api=api, data=data)
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)


def _address(data: Path, process: subprocess.Popen[bytes]) -> str:
    from headwater.cli.client import running
    from headwater.core.settings import load

    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        if (address := running(load(data_folder=data))) is not None:
            return address
        time.sleep(0.05)
    raise AssertionError("the server did not start")


@pytest.fixture(scope="session")
def credit(console: Console) -> str:
    """Give a finished run of the credit recipe."""
    run = console.submit(RECIPE)
    assert console.ended(run, 240) == "done"
    return run


Open = Callable[..., Any]


@pytest.fixture
def browser(console: Console, tmp_path: Path) -> Iterator[Open]:
    """Give an opener of signed-in Chromium windows of some size, in some language, with or without scripts."""
    chromium, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if chromium is None or driver is None:
        pytest.skip("Chromium and its driver are not installed (python3 dev.py system)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
    from selenium.webdriver.support.ui import WebDriverWait

    opened: list[Any] = []

    def open_window(*, width: int = 1280, height: int = 900, language: str = "en", scripts: bool = True) -> Any:
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={tmp_path / str(len(opened))}"):
            options.add_argument(flag)
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        window = webdriver.Chrome(options=options, service=Service(driver))
        opened.append(window)
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        window.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        window.get(f"{console.way_in()}&lang={language}")
        window.find_element("css selector", "main button").click()
        WebDriverWait(window, PATIENCE_S).until(lambda _: "/sign-in" not in window.current_url)
        return window

    yield open_window
    for window in opened:
        window.quit()
