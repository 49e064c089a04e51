"""CKAN's actions that change something: describe a data set, add files to it, take it out of the catalogue.

A package without files is declared and not yet published; the first file publishes it, and each further
one makes a new version with the files before it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from sqlalchemy import Connection

from headwater.core import identity
from headwater.core.errors import BadFile, NotFound, NotSignedIn
from headwater.core.identity import Actor, Permission
from headwater.core.platform import Platform
from headwater.data.catalogue import describe, publishing, sets, tabulate
from headwater.data.catalogue.describe import Description
from headwater.data.catalogue.intake import check_file_name
from headwater.data.catalogue.publishing import Wish
from headwater.data.catalogue.sets import DataSet
from headwater.data.catalogue.vocabulary import Vocabulary
from headwater.data.protocols import offers
from headwater.data.protocols.ckan import packages
from headwater.data.protocols.ckan.params import Invalid, Params
from headwater.data.protocols.offers import Links, Offer

MERGED = ("title", "notes", "license_id", "maintainer_email", "title_translated", "notes_translated")
BECAUSE = "deleted over the CKAN API"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that came with a call."""

    name: str
    file: BinaryIO


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One call of an action that changes something."""

    platform: Platform
    vocabulary: Vocabulary
    links: Links
    language: str
    params: Params
    actor: Actor | None
    upload: Upload | None = None

    def require(self, organisation: str) -> Actor:
        """Return who asks if they may publish for an organisation. Raises NotSignedIn, Refused."""
        if self.actor is None:
            raise NotSignedIn("This needs a token.", "Send yours in the header Authorization.")
        identity.require(self.actor, Permission.DATA_PUBLISH, organisation)
        return self.actor

    def package(self, offer: Offer) -> dict[str, Any]:
        """Return an offer as a package."""
        return packages.package(offer, self.links, self.language)


Action = Callable[[Change], Any]


def package_create(change: Change) -> Any:
    """Declare a data set. Parameters: name, title, notes, license_id, owner_org, tags, groups (a zone), extras (openness, frequency)."""
    organisation = _organisation(change)
    actor, description = change.require(organisation), described(change.params.values)
    description.check_words(change.vocabulary)
    now = change.platform.clock.now()

    def work(connection: Connection) -> Offer:
        if _held(connection, description.name) is not None:
            raise Invalid("name", "That URL is already in use.")
        made = publishing.declared(connection, description, organisation, actor=actor.id, at=now)
        return offers.draft(connection, change.vocabulary, made)

    return change.package(change.platform.db.write(work))


def package_update(change: Change) -> Any:
    """Describe a data set anew: what is left out is emptied. Parameters: id, and those of package_create."""
    offer = _mine(change)
    return _redescribed(change, offer, {"name": offer.dataset.name} | dict(change.params.values))


def package_patch(change: Change) -> Any:
    """Change some of what describes a data set: what is left out stays. Parameters: id, and those of package_create."""
    offer = _mine(change)
    known = packages.package(offer, change.links, change.language)
    given = dict(change.params.values)
    for text, translated in (("title", "title_translated"), ("notes", "notes_translated")):
        if text in given and translated not in given:
            known.pop(translated)
    return _redescribed(change, offer, known | given)


def package_delete(change: Change) -> Any:
    """Take a data set out of the catalogue; its versions and their record stay. Parameters: id."""
    offer = _mine(change)
    reason = change.params.text("reason", otherwise=BECAUSE)
    publishing.withdraw(change.platform, offer.dataset.name, reason=reason, actor=change.require(offer.dataset.organisation).id)


def resource_create(change: Change) -> Any:
    """Add a file, as `upload` of a multipart form, which makes a new version. Parameters: package_id, upload, name, description."""
    offer = _mine(change, "package_id")
    if change.upload is None:
        what = "Files are kept here: send one as `upload`; an address alone is not taken"
        raise Invalid("upload", what)
    return _with_file(change, offer, change.upload)


def resource_update(change: Change) -> Any:
    """Put a file in place of another of the same name, which makes a new version. Parameters: id, upload."""
    with change.platform.db.read() as connection:
        found = next(
            (
                (offer, file)
                for offer in offers.all_offers(connection, change.vocabulary)
                for file in offer.version.files
                if offer.resource_id(file) == change.params.text("id")
            ),
            None,
        )
    if found is None:
        raise NotFound(f"There is no file '{change.params.text('id')[:100]}'.", "Find files with resource_search.")
    offer, file = found
    change.require(offer.dataset.organisation)
    if change.upload is None:
        raise Invalid("upload", "Missing value")
    return _with_file(change, offer, Upload(name=file.name, file=change.upload.file))


WRITING: Mapping[str, Action] = {
    one.__name__: one for one in (package_create, package_update, package_patch, package_delete, resource_create, resource_update)
}


def described(values: Mapping[str, Any]) -> Description:
    """Return the description that a package's fields give. Raises Invalid, naming the field."""
    params = Params(values=values)
    if values.get("resources") and not all(isinstance(one, dict) and one.get("package_id") for one in values["resources"]):
        raise Invalid("resources", "Files are kept here: send each with resource_create, as `upload`")
    extras = _extras(values.get("extras"))
    title = _words(values, "title", otherwise=params.text("name"))
    temporal = (extras["temporal_start"], extras.get("temporal_end")) if extras.get("temporal_start") else None
    told = {
        "name": params.text("name"),
        "title": title,
        "about": _words(values, "notes", otherwise=title["en"]),
        "licence": params.text("license_id"),
        "zone": _first_name(values, "groups"),
        "keywords": _names(values, "tags"),
        "openness": extras.get("openness", "open"),
        "rhythm": extras.get("frequency", "irregular"),
        "contact": params.text("maintainer_email", "author_email", otherwise=""),
        "spatial": extras.get("spatial"),
        "temporal": list(temporal) if temporal else None,
    }
    try:
        return describe.from_json(told)
    except BadFile as error:
        fields = {"licence": "license_id", "about": "notes", "zone": "groups", "keywords": "tags", "rhythm": "extras"}
        field = error.problems[0].where.rpartition(", ")[2].partition(".")[0]
        raise Invalid(fields.get(field, field), "; ".join(one.what for one in error.problems)) from error


def _redescribed(change: Change, offer: Offer, values: Mapping[str, Any]) -> dict[str, Any]:
    description = described(values)
    if description.name != offer.dataset.name:
        raise Invalid("name", f"The name stays '{offer.dataset.name}': addresses and grants go by it")
    actor = change.require(offer.dataset.organisation)
    made = publishing.declare(change.platform, description, offer.dataset.organisation, actor=actor.id)
    with change.platform.db.read() as connection:
        return change.package(offers.draft(connection, change.vocabulary, made))


def _with_file(change: Change, offer: Offer, upload: Upload) -> dict[str, Any]:
    """Publish the newest version's files and one more, and return that one as a resource."""
    dataset = offer.dataset
    name = check_file_name(upload.name, "upload")
    actor = change.require(dataset.organisation)
    description = described(packages.package(offer, change.links, change.language))
    with tempfile.TemporaryDirectory(dir=change.platform.settings.data_folder) as scratch:
        folder = Path(scratch) / "version"
        folder.mkdir()
        if offer.version.number:
            change.platform.store.materialise(offer.version.digest, folder)
            shutil.rmtree(folder / tabulate.FOLDER, ignore_errors=True)  # made anew from the files as they were handed in
        target = folder / name
        target.unlink(missing_ok=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(upload.file, file)
        note = change.params.text("description", otherwise="")
        publishing.publish(
            change.platform, Wish(description=description, source=folder, organisation=dataset.organisation, actor=actor.id, note=note)
        )
    with change.platform.db.read() as connection:
        made = offers.find(connection, change.vocabulary, dataset.id)
    place = next(place for place, file in enumerate(made.version.files) if Path(file.name).stem == Path(name).stem or file.name == name)
    return packages.resource(made, made.version.files[place], place, change.links)


def _mine(change: Change, field: str = "id") -> Offer:
    """Return the data set that a call is about, if the caller may change it. Raises NotFound, NotSignedIn, Refused."""
    if change.actor is None:
        raise NotSignedIn("This needs a token.", "Send yours in the header Authorization.")
    name = change.params.text(field, "id", "name", "name_or_id")
    with change.platform.db.read() as connection:
        dataset = sets.find(connection, name)
        change.require(dataset.organisation)
        return offers.draft(connection, change.vocabulary, dataset)


def _held(connection: Connection, name: str) -> DataSet | None:
    try:
        return sets.find(connection, name)
    except NotFound:
        return None


def _organisation(change: Change) -> str:
    """Return the path of the organisation that a call names, or the caller's own."""
    if change.actor is None:
        raise NotSignedIn("This needs a token.", "Send yours in the header Authorization.")
    wanted = change.params.text("owner_org", otherwise=change.actor.organisation)
    with change.platform.db.read() as connection:
        for one in offers.organisations_of(connection).values():
            if wanted in (one.path, one.slug, one.id):
                return one.path
    raise Invalid("owner_org", f"There is no organisation '{wanted[:100]}'")


def _words(values: Mapping[str, Any], field: str, *, otherwise: str) -> dict[str, str]:
    """Return a text in both languages: as translated, else the one text for both."""
    plain = Params(values=values).text(field, otherwise=otherwise)
    given = values.get(f"{field}_translated")
    translated = given if isinstance(given, dict) else {}
    return {language: str(translated.get(language) or plain) for language in ("zh", "en")}


def _extras(given: Any) -> dict[str, str]:
    pairs = given if isinstance(given, list) else []
    found = {one.get("key"): one.get("value") for one in pairs if isinstance(one, dict)}
    return {str(key): str(value) for key, value in found.items() if value not in (None, "")}


def _names(values: Mapping[str, Any], field: str) -> list[str]:
    given = values.get(field) or []
    if not isinstance(given, list):
        raise Invalid(field, "Must be a list")
    found = [one.get("name") if isinstance(one, dict) else one for one in given]
    if not all(isinstance(one, str) for one in found):
        raise Invalid(field, "Each needs a name")
    return [str(one) for one in found]


def _first_name(values: Mapping[str, Any], field: str) -> str | None:
    found = _names(values, field)
    if len(found) > 1:
        raise Invalid(field, "A data set is in one zone at most")
    return found[0] if found else None
