"""The console's pages that belong to no room: the ledger, statements, one's account, the API's reference."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from headwater.core import evidence, identity, passwords, statement
from headwater.core.errors import BadInput, NotSignedIn, Refused
from headwater.core.identity import ROOT, Actor, Permission
from headwater.core.store import check_name
from headwater.core.web import page, permitted, platform_of
from headwater.server import accounts, records, sign_in
from headwater.server.records import Wanted, Weighed

router = APIRouter(include_in_schema=False)

PAGE = 50
KNOWN = (statement.LINEAGE, statement.TRUST_GRADE, statement.FILING, statement.PUBLICATION, statement.REVOCATION)
LedgerReader = Annotated[Actor, Depends(permitted(Permission.LEDGER_READ, ROOT))]
StatementReader = Annotated[Actor, Depends(permitted(Permission.STATEMENTS_READ))]
Revoker = Annotated[Actor, Depends(permitted(Permission.STATEMENTS_REVOKE, ROOT))]
Anyone = Annotated[Actor, Depends(permitted(Permission.PLAN_READ))]


@router.get("/")
def home() -> Response:
    return RedirectResponse("/runs", status_code=303)


@router.get("/ledger")
def ledger(
    request: Request,
    actor: LedgerReader,  # noqa: ARG001
    kind: Annotated[str, Query(max_length=80)] = "",
    subject: Annotated[str, Query(max_length=200)] = "",
    by: Annotated[str, Query(max_length=200, alias="actor")] = "",
    before: Annotated[int, Query(ge=1, le=records.LARGEST_SEQ)] = records.LARGEST_SEQ,
    verify: bool = False,
) -> Response:
    platform = platform_of(request)
    wanted = Wanted(kind=kind.strip(), subject=subject.strip(), actor=by.strip(), before=before, limit=PAGE)
    with platform.db.read() as connection:
        names = accounts.names(connection)
        asked = Wanted(kind=wanted.kind, subject=wanted.subject, actor=_id_of(names, wanted.actor), before=before, limit=PAGE)
        found, kinds = records.entries(connection, asked), records.kinds(connection)
    kept = {"kind": wanted.kind, "subject": wanted.subject, "actor": wanted.actor}
    return page(
        request,
        "server/ledger.html",
        entries=found,
        kinds=kinds,
        names=names,
        wanted=wanted,
        chain=records.chain(platform.db) if verify else None,
        first=before == records.LARGEST_SEQ,
        newest=_link("/ledger", **kept),
        older=_link("/ledger", **kept, before=found[-1].seq) if len(found) == PAGE else "",
    )


@router.get("/statements")
def statements(
    request: Request,
    actor: StatementReader,  # noqa: ARG001
    kind: Annotated[str, Query(max_length=120)] = "",
    about: Annotated[str, Query(max_length=80)] = "",
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> Response:
    platform, about = platform_of(request), about.strip()
    with platform.db.read() as connection:
        if about:
            fitting = records.about(platform, connection, check_name(about))
            found = tuple(one for one in fitting if kind in ("", one.held.statement.predicate_type))[offset : offset + PAGE]
        else:
            found = records.statements(platform, connection, kind=kind, offset=offset, limit=PAGE)
    kept = {"kind": kind, "about": about}
    newer = _link("/statements", **kept, offset=max(0, offset - PAGE)) if offset else ""
    older = _link("/statements", **kept, offset=offset + PAGE) if len(found) == PAGE else ""
    values: dict[str, Any] = {"found": found, "known": KNOWN, "kind": kind, "about": about, "newer": newer, "older": older, "gist": gist}
    return page(request, "server/statements.html", **values)


@router.get("/statements/{digest}")
def one_statement(request: Request, actor: StatementReader, digest: str) -> Response:
    platform = platform_of(request)
    with platform.db.read() as connection:
        one = records.weigh(platform, connection, evidence.get(connection, digest))
    may_revoke = identity.decide(actor, Permission.STATEMENTS_REVOKE, ROOT).allowed
    return page(
        request,
        "server/statement.html",
        one=one,
        told=one.held.statement,
        predicate=json.dumps(dict(one.held.statement.predicate), ensure_ascii=False, indent=2),
        signers=evidence.signers(platform.keyring, one.held),
        may_revoke=may_revoke and one.held.statement.predicate_type != statement.REVOCATION,
    )


@router.post("/statements/{digest}/revoke")
def revoke(request: Request, actor: Revoker, digest: str, reason: Annotated[str, Form(min_length=3, max_length=1000)]) -> Response:
    platform = platform_of(request)
    now = platform.clock.now()
    platform.db.write(lambda connection: evidence.revoke(connection, platform.keyring, digest, reason=reason, actor=actor.id, now=now))
    return RedirectResponse(f"/statements/{digest}", status_code=303)


@router.get("/account")
def account(request: Request, actor: Anyone) -> Response:
    return _account(request, actor)


@router.post("/account/tokens")
def make_token(
    request: Request,
    actor: Anyone,
    label: Annotated[str, Form(min_length=1, max_length=200)],
    days: Annotated[float, Form(gt=0, le=365)] = 90,
    scopes: Annotated[list[Permission], Form(max_length=100)] = [],  # noqa: B006 - FastAPI copies it
    organisation: Annotated[str, Form(max_length=200)] = "",
) -> Response:
    """Make a token; its text is in the answer and nowhere else, so this page is not redirected to."""
    platform = platform_of(request)
    now = platform.clock.now()
    wish = accounts.Wish(label=label, days=days, scopes=tuple(scopes) or None, organisation=organisation.strip() or None)
    text = platform.db.write(lambda connection: accounts.make_token(connection, actor, wish, by=actor, at=now))
    return _account(request, actor, made=text)


@router.post("/account/tokens/{token}/revoke")
def end_token(request: Request, actor: Anyone, token: str) -> Response:
    platform = platform_of(request)
    now = platform.clock.now()
    platform.db.write(lambda connection: accounts.revoke(connection, token, person_id=actor.id, actor=actor.id, at=now))
    return RedirectResponse("/account", status_code=303)


@router.post("/account/password")
def change_password(
    request: Request,
    actor: Anyone,
    new: Annotated[str, Form(min_length=1, max_length=1024)],
    again: Annotated[str, Form(max_length=1024)],
    current: Annotated[str, Form(max_length=1024)] = "",
) -> Response:
    """Set one's own password, by the one that holds now where there is one; all one's other sessions end."""
    platform = platform_of(request)
    if actor.limit.bounds:
        raise Refused("A limited token sets no passwords.", "Sign in without a limit.")
    if new != again:
        raise BadInput("The two new passwords differ.", "Type the new one twice.", where="again")
    with platform.db.read() as connection:
        has_one = passwords.has_one(connection, actor.id)
    if has_one:
        try:
            sign_in.proved(request, actor.name, current)
        except NotSignedIn as error:
            raise Refused("The current password is wrong.", "Try again, or ask an administrator to set one.") from error
    made, now = passwords.hashed(new, actor.name), platform.clock.now()
    platform.db.write(lambda connection: passwords.put(connection, actor.id, made, actor=actor.id, at=now, keep=actor.token))
    return RedirectResponse("/account", status_code=303)


@router.post("/account/sessions/end")
def end_other_sessions(request: Request, actor: Anyone) -> Response:
    platform = platform_of(request)
    now = platform.clock.now()
    platform.db.write(lambda connection: identity.end_sessions(connection, actor.id, actor=actor.id, at=now, keep=actor.token))
    return RedirectResponse("/account", status_code=303)


@router.get("/reference")
def reference(request: Request) -> Response:
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path, methods in request.app.openapi()["paths"].items():
        for method, told in methods.items():
            one = {"method": method.upper(), "path": path, "summary": told.get("summary", ""), "permission": told.get("x-permission")}
            groups[told.get("tags", ["server"])[0]].append(one)
    return page(request, "server/reference.html", groups=dict(groups))


def gist(one: Weighed) -> str:
    """Return in a few words what a statement says, for a list."""
    told = one.held.statement.predicate
    for key in ("overall", "number", "reason", "name", "step", "job"):
        if isinstance(told.get(key), str | int):
            return f"{key}: {told[key]}"[:80]
    return ", ".join(sorted(told))[:80]


def _account(request: Request, actor: Actor, made: str = "") -> Response:
    platform = platform_of(request)
    with platform.db.read() as connection:
        live = accounts.tokens(connection, actor.id, now=platform.clock.now())
        has_password = passwords.has_one(connection, actor.id)
    held = [one for one in Permission if actor.scopes(one)]
    return page(request, "server/account.html", tokens=live, made=made, held=held, has_password=has_password)


def _id_of(names: dict[str, str], wanted: str) -> str:
    return next((person for person, name in names.items() if name == wanted), wanted)


def _link(path: str, **query: Any) -> str:
    kept = {key: value for key, value in query.items() if value not in ("", 0, None)}
    return f"{path}?{urlencode(kept)}" if kept else path
