"""Renders the console's pages: Jinja templates of every room, texts in the reader's language, one menu."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, PrefixLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from headwater import __version__
from headwater.core import web
from headwater.core.clock import to_text
from headwater.core.identity import Actor, Permission
from headwater.server import language

COOKIE_AGE_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One line of the menu, shown to those who hold its permission."""

    key: str
    path: str
    permission: Permission


MENU = (
    Entry(key="plan", path="/plan", permission=Permission.PLAN_READ),
    Entry(key="runs", path="/runs", permission=Permission.PROJECTS_READ),
    Entry(key="jobs", path="/jobs", permission=Permission.COMPUTE_READ),
    Entry(key="queue", path="/queue", permission=Permission.COMPUTE_READ),
    Entry(key="sites", path="/sites", permission=Permission.COMPUTE_READ),
    Entry(key="quotas", path="/quotas", permission=Permission.COMPUTE_READ),
    Entry(key="usage", path="/usage", permission=Permission.USAGE_READ),
    Entry(key="settlement", path="/settlement", permission=Permission.SETTLEMENT_MANAGE),
    Entry(key="datasets", path="/datasets", permission=Permission.DATA_READ),
    Entry(key="opening", path="/data/plan", permission=Permission.DATA_READ),
    Entry(key="desk", path="/data/desk", permission=Permission.DATA_READ),
    Entry(key="privacy", path="/data/protected", permission=Permission.DATA_READ),
    Entry(key="parallel", path="/parallel", permission=Permission.COMPUTE_READ),
    Entry(key="chips", path="/chips", permission=Permission.COMPUTE_READ),
    Entry(key="models", path="/models", permission=Permission.MODELS_READ),
    Entry(key="cases", path="/cases", permission=Permission.CASES_READ),
    Entry(key="statements", path="/statements", permission=Permission.STATEMENTS_READ),
    Entry(key="ledger", path="/ledger", permission=Permission.LEDGER_READ),
)


class Pages:
    """Templates of the rooms that are present, by `room/file.html`. Implements `core.web.Console`."""

    def __init__(self, rooms: Sequence[str], *, secure_cookies: bool) -> None:
        folders = {room: FileSystemLoader(str(files(f"headwater.{room}") / "templates")) for room in rooms}
        self.secure_cookies = secure_cookies
        self.environment = Environment(
            loader=PrefixLoader(folders), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.filters |= {
            "when": when,
            "since": since,
            "short": short,
            "size": size,
            "number": number,
            "told": _told,
        }
        self.environment.globals |= {"t": _text, "label": _label}

    def render(self, request: Request, template: str, values: Mapping[str, Any], status: int) -> Response:
        """Return a whole page, remembering the language asked for and giving strangers a form token."""
        known = self._known(request)
        response = HTMLResponse(self.environment.get_template(template).render(**known, **values), status_code=status)
        response.headers["content-language"] = language.TAGS[known["lang"]]
        response.headers["vary"] = "cookie, accept-language"
        if request.query_params.get("lang") in language.LANGUAGES:
            self._cookie(response, language.COOKIE, known["lang"])
        if known["visitor"] is not None:
            self._cookie(response, web.VISITOR_COOKIE, known["visitor"])
        return response

    def fragment(self, request: Request, template: str, values: Mapping[str, Any]) -> str:
        """Return part of a page."""
        return self.environment.get_template(template).render(**self._known(request), **values)

    def _known(self, request: Request) -> dict[str, Any]:
        actor: Actor | None = getattr(request.state, "actor", None)
        secret = web.session(request) or request.cookies.get(web.VISITOR_COOKIE)
        visitor = None if secret else secrets.token_urlsafe(24)
        asked, remembered = request.query_params.get("lang"), request.cookies.get(language.COOKIE)
        return {
            "lang": language.choose(asked, remembered, request.headers.get("accept-language", "")),
            "languages": {code: (name, _in_language(request, code)) for code, name in language.LANGUAGES.items()},
            "actor": actor,
            "menu": [entry for entry in MENU if actor is not None and actor.scopes(entry.permission)],
            "here": request.url.path,
            "csrf": Markup('<input type="hidden" name="{}" value="{}">').format(web.CSRF_FIELD, web.form_token(secret or visitor or "")),
            "visitor": visitor,
            "release": __version__,
            "zone": zone(),
        }

    def _cookie(self, response: Response, name: str, value: str) -> None:
        response.set_cookie(name, value, max_age=COOKIE_AGE_S, httponly=True, samesite="strict", secure=self.secure_cookies)


def when(at: datetime | None) -> Markup | str:
    """Return a time in the server's own zone, with the UTC time for machines and for a closer look."""
    if at is None:
        return "–"
    utc = to_text(at)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(utc, utc, at.astimezone().strftime("%Y-%m-%d %H:%M:%S"))


def since(seconds: float | None) -> str:
    """Return a duration for people: 0.42 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes_left:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def short(name: str) -> Markup:
    """Return a digest or a long id cut for reading, whole for a closer look; names that people gave stay whole."""
    digits = name.removeprefix("sha256:")
    if len(digits) <= 16 or set(digits) - set("0123456789abcdef/"):
        return escape(name)
    return Markup('<code class="digest" title="{}">{}…</code>').format(name, digits[:12])


def size(count: float | None) -> str:
    """Return bytes for people, in binary units."""
    if count is None:
        return "–"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def number(value: float | None) -> str:
    """Return a figure with as many digits as a person reads: four significant ones."""
    if value is None:
        return "–"
    whole = float(value).is_integer() and abs(value) < 1e15
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def zone() -> str:
    """Return the server zone's offset, as `UTC+08:00`."""
    offset = datetime.now(UTC).astimezone().strftime("%z")
    return f"UTC{offset[:3]}:{offset[3:5]}"


@pass_context
def _text(context: Context, key: str, **values: Any) -> str:
    return language.text(context["lang"], key, values)


@pass_context
def _label(context: Context, group: str, value: str) -> str:
    return language.label(context["lang"], group, value)


def _told_in(context: Context, told: Mapping[str, str] | str | None) -> str:
    return language.of(told, context["lang"])


_told = pass_context(_told_in)


def _in_language(request: Request, code: str) -> str:
    """Return this page's address in another language; a page that answers a form or a provider has none, so its section's."""
    if request.method != "GET" or request.url.path.startswith("/sign-in/"):
        return f"/{request.url.path.split('/')[1]}?lang={code}"
    query = [(name, value) for name, value in parse_qsl(request.url.query, keep_blank_values=True) if name != "lang"]
    return f"{request.url.path}?{urlencode([*query, ('lang', code)])}"
