"""Console pages over projects: runs, one run as it goes, the artifacts and trust reports that came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from sqlalchemy import Connection, select

from headwater.compute import artifacts, jobs, views
from headwater.compute.api import wake
from headwater.compute.jobs import ENDS, Job
from headwater.compute.pages import elapsed
from headwater.core import identity
from headwater.core.errors import Broken, NotFound
from headwater.core.identity import Actor, Permission
from headwater.core.store import Entry, check_name
from headwater.core.web import Update, fragment, live, names_of, page, permitted, platform_of
from headwater.projects import drawing, runs
from headwater.projects.api import found
from headwater.projects.runs import Run

router = APIRouter(include_in_schema=False)

Reader = Annotated[Actor, Depends(permitted(Permission.PROJECTS_READ))]
Runner = Annotated[Actor, Depends(permitted(Permission.PROJECTS_RUN))]
ArtifactReader = Annotated[Actor, Depends(permitted(Permission.ARTIFACTS_READ))]
LONGEST_LIST = 100
LONGEST_TEXT = 256 << 10
REPORT = "report.html"
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"


@router.get("/runs")
def listed(request: Request, actor: Reader) -> Response:
    platform = platform_of(request)
    with platform.db.read() as connection:
        seen = runs.listed(connection, scopes=actor.scopes(Permission.PROJECTS_READ), limit=LONGEST_LIST)
        shown = [_summary(run, jobs.of_graph(connection, run.id)) for run in seen]
    names = names_of(request, [run.submitted_by for run in seen])
    return page(request, "projects/runs.html", runs=shown, names=names)


@router.get("/runs/{run}")
def shown(request: Request, actor: Reader, run: str) -> Response:
    one = found(request, run, actor)
    with platform_of(request).db.read() as connection:
        graph = jobs.of_graph(connection, one.id)
    follow = any(job.state not in ENDS for job in graph)
    may_cancel = follow and identity.decide(actor, Permission.PROJECTS_RUN, one.organisation).allowed
    names = names_of(request, [one.submitted_by])
    values = _known(request, one, graph)
    return page(request, "projects/run.html", text=one.text, follow=follow, may_cancel=may_cancel, names=names, **values)


@router.get("/runs/{run}/live")
def followed(request: Request, actor: Reader, run: str) -> Response:
    one = found(request, run, actor)
    return live(request, _look(request, one))


@router.post("/runs/{run}/cancel")
def cancel(request: Request, actor: Runner, run: str) -> Response:
    platform, one = platform_of(request), found(request, run, actor, Permission.PROJECTS_RUN)
    platform.db.write(lambda connection: runs.cancel(connection, one, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return RedirectResponse(f"/runs/{one.id}", status_code=303)


@router.get("/artifacts/{digest}")
def artifact(request: Request, actor: ArtifactReader, digest: str, path: Annotated[str, Query(max_length=500)] = "") -> Response:
    name, entries = _held(request, actor, digest)
    text = _text(request, name, entries, path)
    return page(request, "projects/artifact.html", name=name, entries=entries, path=path, text=text)


@router.get("/jobs/{job}/report")
def report_of_job(request: Request, actor: ArtifactReader, job: str) -> Response:
    """The trust report that a job made."""
    with platform_of(request).db.read() as connection:
        one = jobs.get(connection, job)
    identity.require(actor, Permission.ARTIFACTS_READ, one.organisation)
    if "report" not in one.outputs:
        raise NotFound(f"The job {one.id} made no report.", "Open a trust.evaluate job that is done.")
    return RedirectResponse(f"/reports/{one.outputs['report'].removesuffix('/')}", status_code=303)


@router.get("/reports/{digest}")
def report(request: Request, actor: ArtifactReader, digest: str) -> Response:
    name, entries = _held(request, actor, digest)
    if REPORT not in {entry.path for entry in entries}:
        raise NotFound(f"The artifact {name[:19]}… holds no {REPORT}.", "Open the report of a trust.evaluate job.")
    return page(request, "projects/report.html", name=name)


@router.get("/reports/{digest}/content")
def report_content(request: Request, actor: ArtifactReader, digest: str) -> Response:
    """The report as it was written, in a sandbox: no script, no form, no request, no cookie."""
    name, _ = _held(request, actor, digest)
    content = platform_of(request).store.read(name + "/", REPORT, limit=LONGEST_TEXT * 64)
    return HTMLResponse(content, headers={"content-security-policy": SANDBOX, "x-frame-options": "SAMEORIGIN"})


def _look(request: Request, run: Run) -> Callable[[], Iterable[Update]]:
    def look() -> Iterable[Update]:
        with platform_of(request).db.read() as connection:
            graph = jobs.of_graph(connection, run.id)
        values = _known(request, run, graph)
        yield Update(kind="part", id="summary", content=fragment(request, "projects/run_summary.html", **values))
        yield Update(kind="part", id="graph", content=fragment(request, "projects/run_graph.html", **values))
        for number, job in enumerate(values["jobs"]):
            yield Update(kind="part", id=f"job-{number}", content=fragment(request, "projects/run_job.html", job=job, **values))
        if all(job.state in ENDS for job in graph):
            yield Update(kind="end")

    return look


def _known(request: Request, run: Run, graph: tuple[Job, ...]) -> dict[str, Any]:
    platform = platform_of(request)
    with platform.db.read() as connection:
        needs = _needs(connection, graph)
    seen = [views.view(platform, job) for job in graph]
    return {
        "run": run,
        "jobs": seen,
        "by_name": {job.name: job for job in seen},
        "picture": drawing.draw([job.name for job in graph], needs),
        "needs": needs,
        "summary": _summary(run, graph),
        "now": platform.clock.now(),
        "elapsed": elapsed,
    }


def _needs(connection: Connection, graph: tuple[Job, ...]) -> dict[str, list[str]]:
    """Return for each job, by name, the names of the jobs that it needs."""
    names = {job.id: job.name for job in graph}
    edges = connection.execute(select(jobs.needs).where(jobs.needs.c.job.in_(names)))
    found: dict[str, list[str]] = {name: [] for name in names.values()}
    for edge in edges:
        found[names[edge.job]].append(names[edge.needs])
    return {name: sorted(needed) for name, needed in found.items()}


def _summary(run: Run, graph: tuple[Job, ...]) -> dict[str, Any]:
    ended = [job for job in graph if job.state in ENDS]
    last = max((job.ended_at for job in ended if job.ended_at), default=None) if len(ended) == len(graph) else None
    return {
        "run": run,
        "state": runs.state_of(graph),
        "all": len(graph),
        "ended": len(ended),
        "reused": sum(job.state == jobs.State.REUSED for job in graph),
        "took_s": (last - run.submitted_at).total_seconds() if last else None,
    }


def _held(request: Request, actor: Actor, digest: str) -> tuple[str, tuple[Entry, ...]]:
    """Return an artifact's name without the tree mark, and its files where it is held as a tree. Raises NotFound, BadInput."""
    platform = platform_of(request)
    name, scopes = check_name(digest).removesuffix("/"), actor.scopes(Permission.ARTIFACTS_READ)
    with platform.db.read() as connection:
        try:
            artifacts.require_held(connection, name + "/", scopes)
        except NotFound:
            artifacts.require_held(connection, name, scopes)
            return name, ()
    try:
        return name, platform.store.entries(name)
    except Broken:
        return name, ()


def _text(request: Request, name: str, entries: tuple[Entry, ...], path: str) -> str | None:
    """Return a file's text where it is short text, else None."""
    store = platform_of(request).store
    if entries and not path:
        return None
    target = next((entry.digest for entry in entries if entry.path == path), None) if entries else name
    if target is None:
        raise NotFound(f"No file '{path}' in {name[:19]}….", "Choose one from the list.")
    if store.size(target) > LONGEST_TEXT:
        return None
    data = store.read(target)
    try:
        return data.decode() if b"\0" not in data else None
    except UnicodeDecodeError:
        return None
