"""Hand an open data set on to another CKAN: describe it there, and send the files that it does not have yet.

Pushing again sends only what changed. Translations, groups that the other side does not know, and tables
made from files that are sent anyway stay here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from headwater.core.errors import BadInput, NotFound, Refused, Unavailable
from headwater.core.store import Store
from headwater.data.catalogue import tabulate
from headwater.data.catalogue.sets import File
from headwater.data.protocols.ckan import packages
from headwater.data.protocols.offers import Links, Offer

KEPT = ("name", "title", "notes", "license_id", "url", "version", "author", "maintainer", "maintainer_email")
PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """Another CKAN's Action API, spoken with a token."""

    http: httpx.Client
    address: str

    def call(self, action: str, *, upload: tuple[str, Any] | None = None, **params: Any) -> Any:
        """Return an action's result. Raises NotFound, Refused, BadInput as the other side says, Unavailable where it does not answer."""
        place = f"{self.address.rstrip('/')}/api/3/action/{action}"
        try:
            if upload is None:
                answer = self.http.post(place, json=params)
            else:
                texts = {name: str(value) for name, value in params.items()}
                answer = self.http.post(place, data=texts, files={"upload": upload})
            told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"{self.address} does not answer as a CKAN: {error}.", "Check the address.") from error
        if isinstance(told, dict) and told.get("success"):
            return told.get("result")
        raise self._refused(action, answer.status_code, told)

    def _refused(self, action: str, status: int, told: Any) -> NotFound | Refused | BadInput | Unavailable:
        error = told.get("error") if isinstance(told, dict) else None
        fields = {key: value for key, value in error.items() if key != "__type"} if isinstance(error, dict) else {"answer": str(told)[:300]}
        why = "; ".join(f"{key}: {value}" for key, value in fields.items())[:1000]
        if status == 404:
            return NotFound(f"{self.address} knows no such thing ({action}: {why}).")
        if status in (401, 403):
            return Refused(f"{self.address} does not let this token call {action}: {why}.", "Ask its administrator for the role.")
        if status >= 500:
            return Unavailable(f"{self.address} failed at {action}: {why}.", "Try again later.")
        return BadInput(f"{self.address} does not take it ({action}): {why}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a push did."""

    name: str
    created: bool
    sent: tuple[str, ...]
    kept: tuple[str, ...]
    """Files that the other side had already."""


def push(remote: Remote, offer: Offer, store: Store, links: Links, *, organisation: str | None = None) -> Pushed:
    """Push the newest version of a data set. Raises Refused for one that is not open: its rows may not be handed on."""
    if not offer.open:
        raise Refused(
            f"The data set '{offer.dataset.name}' is {offer.dataset.openness}: its rows may not be handed on.",
            "Describe it to a data market with `headwater data export`.",
        )
    described = _described(remote, offer, links, organisation)
    try:
        held = remote.call("package_show", id=offer.dataset.name)
    except NotFound:
        held = None
    package = remote.call("package_patch", **described, id=held["id"]) if held else remote.call("package_create", **described)
    there = {one["name"]: one for one in (held or {}).get("resources", [])}
    sent, kept = [], []
    for file in offer.version.files:
        if file.name.startswith(f"{tabulate.FOLDER}/"):
            continue
        known = there.get(file.name)
        if known is not None and known.get("hash") == file.digest:
            kept.append(file.name)
            continue
        _send(remote, store, file, package["id"], known)
        sent.append(file.name)
    return Pushed(name=offer.dataset.name, created=held is None, sent=tuple(sent), kept=tuple(kept))


def _send(remote: Remote, store: Store, file: File, package: str, known: Mapping[str, Any] | None) -> None:
    told = {"package_id": package, "name": file.name, "format": packages.format_of(file), "hash": file.digest}
    with store.open(file.digest) as content:
        if known is None:
            remote.call("resource_create", upload=(file.name, content), **told)
        else:
            remote.call("resource_update", upload=(file.name, content), id=known["id"], **told)


def _described(remote: Remote, offer: Offer, links: Links, organisation: str | None) -> dict[str, Any]:
    whole = packages.package(offer, links, "en")
    known = remote.call("group_list")
    told = {name: whole[name] for name in KEPT}
    told["tags"] = [{"name": one["name"]} for one in whole["tags"]]
    told["extras"] = whole["extras"]
    told["groups"] = [{"name": one["name"]} for one in whole["groups"] if one["name"] in known]
    return told | ({"owner_org": organisation} if organisation else {})
