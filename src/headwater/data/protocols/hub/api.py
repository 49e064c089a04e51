"""The routes of the Hugging Face Hub that readers of data sets use, under `/hf`: `HF_ENDPOINT=<address>/hf`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from headwater.core.errors import HeadwaterError, NotFound, NotSignedIn, Refused
from headwater.core.identity import Actor
from headwater.core.web import platform_of, public
from headwater.data.authorisation.serving import serve_file
from headwater.data.catalogue import sets
from headwater.data.catalogue.sets import Version
from headwater.data.protocols import offers
from headwater.data.protocols.access import links_of, refuse_rows, vocabulary_of
from headwater.data.protocols.hub import repository
from headwater.data.protocols.hub.repository import NoRevision
from headwater.data.protocols.offers import Offer
from headwater.data.protocols.speech import speaking


class HubError(BaseModel):
    """An error as the hub tells it; its kind is in the header X-Error-Code."""

    error: str


class NoFile(NotFound):
    """A repository has no such file at this revision."""

    code = "data.no_file"


def tell(error: HeadwaterError) -> Response:
    """Return an error in the hub's words: the client raises by the code in the header."""
    kinds: tuple[tuple[type[HeadwaterError], str], ...] = (
        (NoRevision, "RevisionNotFound"),
        (NoFile, "EntryNotFound"),
        (NotFound, "RepoNotFound"),
        (NotSignedIn, ""),
        (Refused, "GatedRepo"),
    )
    code = next((name for kind, name in kinds if isinstance(error, kind)), "")
    text = " ".join(part for part in (error.what, error.hint) if part)
    headers = {"x-error-message": text.encode("ascii", "replace").decode().replace("\r", " ").replace("\n", " ")[:1000]}
    headers |= {"x-error-code": code} if code else {}
    headers |= {"retry-after": str(error.facts["wait_s"])} if error.http_status == 429 else {}
    status = 400 if error.http_status == 422 else error.http_status
    return JSONResponse({"error": text}, status_code=status, headers=headers)


ERRORS: dict[int | str, dict[str, Any]] = {status: {"model": HubError} for status in (400, 401, 403, 404, 429)}
router = APIRouter(prefix="/hf", tags=["protocols"], route_class=speaking(tell), responses=ERRORS)

Caller = Annotated[Actor | None, Depends(public("readers of open data need no account"))]
Organisation = Annotated[str, Path(max_length=200, examples=["city"])]
Name = Annotated[str, Path(max_length=100)]
Revision = Annotated[str, Path(max_length=100, examples=["main"])]
FilePath = Annotated[str, Path(max_length=500)]
BYTES: dict[int | str, dict[str, Any]] = {
    200: {"description": "The file.", "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
    206: {"description": "The bytes asked for."},
    304: {"description": "The file is the one you have."},
    416: {"description": "The file has none of these bytes."},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """A repository at a revision."""

    offer: Offer
    version: Version


class PathsIn(BaseModel):
    """Which files are asked about."""

    paths: list[Annotated[str, Field(max_length=500)]] | str = Field(examples=[["README.md"]])
    expand: bool = False


@router.get("/api/datasets/{organisation}/{name}", summary="Hub: look at a data set")
def info(request: Request, caller: Caller, organisation: Organisation, name: Name) -> dict[str, Any]:  # noqa: ARG001
    at = _at(request, organisation, name, "main")
    return repository.info(at.offer, at.version)


@router.get("/api/datasets/{organisation}/{name}/revision/{revision:path}", summary="Hub: look at a revision of a data set")
def info_at(request: Request, caller: Caller, organisation: Organisation, name: Name, revision: Revision) -> dict[str, Any]:  # noqa: ARG001
    at = _at(request, organisation, name, revision)
    return repository.info(at.offer, at.version)


@router.get("/api/datasets/{organisation}/{name}/tree/{revision}", summary="Hub: list the files of a data set")
def tree(request: Request, caller: Caller, organisation: Organisation, name: Name, revision: Revision) -> list[dict[str, Any]]:  # noqa: ARG001
    at = _at(request, organisation, name, revision)
    return repository.tree(at.offer, at.version, links_of(request), "")


@router.get("/api/datasets/{organisation}/{name}/tree/{revision}/{folder:path}", summary="Hub: list the files of a folder")
def tree_below(
    request: Request,
    caller: Caller,  # noqa: ARG001
    organisation: Organisation,
    name: Name,
    revision: Revision,
    folder: FilePath,
) -> list[dict[str, Any]]:
    at = _at(request, organisation, name, revision)
    found = repository.tree(at.offer, at.version, links_of(request), folder)
    if not found:
        raise NoFile(f"There is no folder '{folder[:200]}' at this revision.")
    return found


@router.post("/api/datasets/{organisation}/{name}/paths-info/{revision}", summary="Hub: look at files of a data set")
def paths_info(
    request: Request,
    caller: Caller,  # noqa: ARG001
    organisation: Organisation,
    name: Name,
    revision: Revision,
    asked: PathsIn,
) -> list[dict[str, Any]]:
    at = _at(request, organisation, name, revision)
    wanted = {asked.paths} if isinstance(asked.paths, str) else set(asked.paths)
    held = repository.entries(at.offer, at.version, links_of(request))
    folders = [{"type": "directory", "path": one, "size": 0, "oid": "0" * 40} for one in sorted(wanted) if _is_folder(one, held)]
    return [repository.entry(one) for one in held if one.name in wanted] + folders


@router.get(
    "/datasets/{organisation}/{name}/resolve/{revision}/{file:path}", summary="Hub: a file", response_class=Response, responses=BYTES
)
def resolve(
    request: Request,
    caller: Caller,  # noqa: ARG001
    organisation: Organisation,
    name: Name,
    revision: Revision,
    file: FilePath,
    download: Annotated[bool, Query(description="Taken and of no effect: files are always saved.")] = False,  # noqa: ARG001
) -> Response:
    at, links = _at(request, organisation, name, revision), links_of(request)
    found = next((one for one in repository.entries(at.offer, at.version, links) if one.name == file), None)
    if found is None:
        raise NoFile(f"There is no file '{file[:200]}' at this revision.")
    headers = {"x-repo-commit": repository.commit_of(at.version)}
    if file == repository.README and not any(one.name == file for one in at.version.files):
        text = repository.readme(at.offer, at.version, links)
        tag = f'"{found.digest.removeprefix("sha256:")}"'
        return Response(text, media_type="text/markdown; charset=utf-8", headers=headers | {"etag": tag})
    refuse_rows(at.offer, links)
    response = serve_file(request, platform_of(request).store, found)
    response.headers.update(headers)
    return response


def _at(request: Request, organisation: str, name: str, revision: str) -> At:
    platform = platform_of(request)
    with platform.db.read() as connection:
        found = offers.find(connection, vocabulary_of(platform), name)
        if found.organisation.slug != organisation:
            raise NotFound(f"There is no data set {organisation[:100]}/{name[:100]}.", "Search at /datasets.")
        return At(offer=found, version=repository.revision(sets.versions(connection, found.dataset.id), revision))


def _is_folder(path: str, held: list[sets.File]) -> bool:
    return any(one.name.startswith(path.strip("/") + "/") for one in held)
