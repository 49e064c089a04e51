"""The pages of sites, queue and quotas, and a job's story and log, over real jobs."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import insert

from headwater.compute import jobs, views
from headwater.compute.catalogue.sites import CAPITAL
from headwater.compute.dispatcher import Dispatcher
from headwater.compute.jobs import Spec, State
from headwater.core import identity
from headwater.core.identity import SYSTEM
from headwater.core.platform import Platform
from headwater.core.steps import Resources
from headwater.server.app import create_app
from tests.flow.cli.test_commands import headwater
from tests.flow.compute.graphs import command, ended, submit, until
from tests.flow.server.conftest import Token
from tests.flow.server.in_process import TestClient


@pytest.fixture
def busy(site: Platform) -> Iterator[Dispatcher]:
    dispatcher = Dispatcher(site)
    dispatcher.start()
    yield dispatcher
    dispatcher.stop()


@pytest.fixture
def app(site: Platform, busy: Dispatcher) -> FastAPI:
    return create_app(site, dispatcher=busy)


def test_waiting_jobs_stand_with_reason_and_expected_start_and_filters_keep_what_fits(
    site: Platform, browser: TestClient, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    held = command("sh", "-c", f"until test -e {release}; do sleep 0.1; done", cpus=2)
    graph = submit(site, {"first": held, "second": command("true", cpus=2), "third": command("true")})
    until(site, graph, lambda seen: seen["first"].state is State.RUNNING and "waits" in seen["third"].reason)
    page = browser.get("/queue?lang=en").text
    assert page.index(f"{graph}.second") < page.index(f"{graph}.third")
    assert f"/jobs/{graph}.first" not in page
    assert "Running jobs ending." in page
    assert "is expected to start them" in page
    assert page.count("<time") == 6, "each of the two has a start, an earliest and a latest"
    assert f"{graph}.second" in browser.get("/queue?organisation=city&site=local").text
    for elsewhere in ("site=nowhere", "organisation=city/none", "chip=h20"):
        assert 'class="empty"' in browser.get(f"/queue?{elsewhere}").text
    sites = browser.get("/sites?lang=en").text
    assert re.search(r'max="2(.0)?" value="2(.0)?" aria-label="CPU"', sites)
    one = browser.get("/sites/local?lang=en").text
    assert f"/jobs/{graph}.first" in one
    assert f"/jobs/{graph}.second" in one
    release.touch()
    ended(site, graph)


def test_another_organisations_jobs_are_neither_listed_nor_counted_for_it(
    site: Platform, app: FastAPI, token: Token, tmp_path: Path
) -> None:
    now = site.clock.now()
    site.db.write(lambda connection: identity.add_organisation(connection, "city/b", "B", actor=SYSTEM, at=now))
    release = tmp_path / "release"
    held = command("sh", "-c", f"until test -e {release}; do sleep 0.1; done", cpus=2)
    graph = submit(site, {"first": held, "second": command("true", cpus=2)})
    until(site, graph, lambda seen: "waits" in seen["second"].reason)
    stranger = TestClient(app, headers={"authorization": f"Bearer {token('viewer', scope='city/b')}", "accept": "text/html"})
    for path in ("/queue", "/sites/local", "/quotas"):
        assert graph not in stranger.get(path).text
    assert 'class="empty"' in stranger.get("/quotas").text
    assert stranger.get(f"/jobs/{graph}.first/log").status_code == 403
    release.touch()
    ended(site, graph)


def test_a_page_of_a_queue_of_fifty_thousand_is_made_in_bounded_time(site: Platform) -> None:
    spec = Spec(argv=("true",), params={}, inputs={}, resources=Resources(accelerators={"nvidia/h20": 1})).as_json()
    plain = Spec(argv=("true",), params={}, inputs={}, resources=Resources()).as_json()
    shared = {"graph": "g", "organisation": "city", "submitted_by": SYSTEM, "state": "queued", "engine": "local", "attempt": 0}
    shared |= {"reason": "", "place": "", "submitted_at": site.clock.now()}
    rows = [{"id": f"g.{n}", "name": f"{n}", "position": n, "spec": spec if n % 1000 == 0 else plain, **shared} for n in range(50_000)]
    site.db.write(lambda connection: connection.execute(insert(jobs.jobs), rows))
    client = TestClient(
        create_app(site), headers={"authorization": f"Bearer {_token(site)}", "accept": "text/html", "accept-language": "en"}
    )
    for path, shown in (("/queue?offset=100", "g.100<"), ("/queue?chip=nvidia/h20", "g.49000<"), ("/sites", "50000"), ("/quotas", "50000")):
        client.get(path)
        begun = time.perf_counter()
        page = client.get(path)
        took_s = time.perf_counter() - begun
        assert shown in page.text, path
        assert took_s < 3.0, f"{path} took {took_s:.2f} s"
    assert "50,000 that wait in all" in client.get("/queue?lang=en").text


def _token(site: Platform) -> str:
    administrator, now = site.found(), site.clock.now()
    return site.db.write(
        lambda connection: identity.issue_token(connection, administrator, kind="api", label="t", lasts=timedelta(hours=1), at=now)
    )


def test_a_retried_jobs_page_tells_each_attempt_and_gives_each_log_whole(site: Platform, browser: TestClient, tmp_path: Path) -> None:
    again = tmp_path / "again"
    script = f"echo 日志 $HW_ATTEMPT; seq 20000; test -e {again} && exit 0; touch {again}; echo bad; exit 3"
    graph = submit(site, {"job": command("sh", "-c", script, retries=1)})
    assert ended(site, graph)["job"].attempt == 2
    page = browser.get(f"/jobs/{graph}.job?lang=en").text
    assert "attempt 1 failed (failed); it is tried again" in page
    assert "tried again" in page
    assert "The end of the log" in page
    assert "\n20000\n" in page
    assert "\n100\n" not in page
    first, second = (browser.get(f"/jobs/{graph}.job/log?attempt={number}") for number in (1, 2))
    assert first.headers["content-type"] == "text/plain; charset=utf-8"
    assert first.headers["content-disposition"].startswith("attachment")
    assert first.text.startswith("日志")
    assert first.text.endswith("20000\nbad\n")
    assert second.text.endswith("\n20000\n")
    assert browser.get(f"/jobs/{graph}.job/log?attempt=9").status_code == 404


def test_a_log_read_in_parts_cuts_no_character(site: Platform, busy: Dispatcher) -> None:
    graph = submit(site, {"job": command("sh", "-c", "printf 作业日志😀结束")})
    job = ended(site, graph)["job"]
    for limit in (4, 5, 7):
        text, offset = "", 0
        while (chunk := views.log_chunk(site, job, offset=offset, limit=limit)).text:
            text, offset = text + chunk.text, chunk.next_offset
        assert text == "作业日志😀结束", limit


def test_the_tail_of_a_log_is_printed_alone(site: Platform, busy: Dispatcher) -> None:
    graph = submit(site, {"job": command("sh", "-c", "seq 1000; printf end")})
    ended(site, graph)
    data = ("--data", str(site.settings.data_folder))
    assert headwater("job", "logs", f"{graph}.job", "--tail", "3", *data).stdout == "999\n1000\nend"
    assert headwater("job", "logs", f"{graph}.job", "--tail", "0", *data).stdout == ""
    assert headwater("job", "logs", f"{graph}.none", *data).returncode != 0


def test_sites_of_a_file_stand_on_the_map_and_a_wrong_file_is_told(site: Platform, tmp_path: Path) -> None:
    file = tmp_path / "sites.toml"
    file.write_text(CAPITAL.read_text(encoding="utf-8"), encoding="utf-8")
    site = replace(site, settings=site.settings.model_copy(update={"sites_file": str(file)}))
    headers = {"authorization": f"Bearer {_token(site)}", "accept": "text/html", "accept-language": "en"}
    client = TestClient(create_app(site), headers=headers)
    page = client.get("/sites").text
    assert page.count('class="site unseen"') == 7
    assert "Haidian public centre" in page
    one = client.get("/sites/beijing-haidian").text
    assert "synthetic, for this example" in one
    assert "Electricity price over the day" in one
    assert client.get("/sites/atlantis").status_code == 404
    file.write_text("schema = 1", encoding="utf-8")
    assert 'role="alert"' in client.get("/sites").text
