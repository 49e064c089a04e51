"""Forms: every route that changes something is walked with a signed-in browser and no form token, and from another site."""

from __future__ import annotations

import re

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from headwater.server import openapi
from headwater.server.console import Pages
from tests.flow.server.conftest import form_token
from tests.flow.server.in_process import TestClient

CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def changing(app: FastAPI) -> list[tuple[str, str]]:
    """Return the method and an address of every route that may change something for whoever has a session.

    Routes for all (`web.public`) are left out: there a session's cookie does not count unless the route only reads.
    """
    declared = [one for one in iter_route_contexts(app.routes) if openapi.public_of(one) is None]
    found = [(method, str(context.path_format)) for context in declared for method in context.methods or ()]
    return sorted((method, re.sub(r"\{.*?\}", "1", path)) for method, path in found if method in CHANGING)


def test_no_form_is_taken_from_a_signed_in_browser_without_the_pages_token(app: FastAPI, browser: TestClient) -> None:
    routes = changing(app)
    assert len([path for _, path in routes if not path.startswith("/api/")]) > 15
    taken = [
        f"{method} {path}: {status}" for method, path in routes if (status := browser.request(method, path, data={}).status_code) != 403
    ]
    assert taken == []


def test_no_form_is_taken_from_another_site_even_with_the_token(app: FastAPI, browser: TestClient) -> None:
    csrf = form_token(browser.get("/account").text)
    elsewhere = {"origin": "https://evil.example"}
    taken = [
        f"{method} {path}: {status}"
        for method, path in changing(app)
        if (status := browser.request(method, path, data={"csrf": csrf}, headers=elsewhere).status_code) != 403
    ]
    assert taken == []


def test_every_form_of_the_templates_carries_the_token(app: FastAPI) -> None:
    console = app.state.console
    assert isinstance(console, Pages)
    loader = console.environment.loader
    assert loader is not None
    without = []
    for name in loader.list_templates():
        text = loader.get_source(console.environment, name)[0]
        forms = re.findall(r"<form\b[^>]*method=\"post\"[^>]*>(.*?)</form>", text, re.S)
        without += [name for one in forms if "{{ csrf }}" not in one]
    assert without == []
