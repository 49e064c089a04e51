"""Routes over projects and artifacts: check a file, upload what it uses, run it, look at runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from headwater.compute import artifacts, jobs, views
from headwater.compute.api import wake
from headwater.compute.views import JobView
from headwater.core import identity
from headwater.core.errors import LimitExceeded
from headwater.core.identity import Actor, Permission
from headwater.core.store import check_name, is_tree
from headwater.core.web import permitted, platform_of
from headwater.projects import check as checking
from headwater.projects import runs, schema
from headwater.projects.runs import Run, RunState, Wish

router = APIRouter(prefix="/api", tags=["projects"])

Reader = Annotated[Actor, Depends(permitted(Permission.PROJECTS_READ))]
Runner = Annotated[Actor, Depends(permitted(Permission.PROJECTS_RUN))]
ArtifactReader = Annotated[Actor, Depends(permitted(Permission.ARTIFACTS_READ))]

LARGEST_INLINE = 64 << 20


class ProjectIn(BaseModel):
    """A project to check or run."""

    text: str = Field(
        max_length=1 << 20,
        description="The project file.",
        examples=["schema: headwater.project/1\nname: hello\nsteps:\n  say: {run: [echo, hello]}\n"],
    )
    files: dict[str, str] = Field(default_factory=dict, max_length=1000, description="Uploaded artifacts by path in the project.")


class RunIn(ProjectIn):
    """A project to run."""

    organisation: str | None = Field(
        None, max_length=200, description="Organisation that runs it; yours where left out.", examples=["city"]
    )
    force: bool = Field(False, description="Run every step, also where an equal one finished before.")
    engine: str | None = Field(None, max_length=40, description="Engine that runs it; the setting's where left out.", examples=["local"])


class CheckedOut(BaseModel):
    """A project file without problems."""

    name: str
    steps: list[str] = Field(description="The steps in an order in which they can run.")
    files: list[str] = Field(description="Files that it uses.")


class RunView(BaseModel):
    """A run as it stands."""

    id: str = Field(examples=["credit-1f2e3d4c"])
    project: str
    title: dict[str, str]
    organisation: str
    submitted_by: str
    submitted_at: datetime
    state: RunState
    jobs: list[JobView]


class ArtifactOut(BaseModel):
    """A stored artifact."""

    name: str = Field(examples=["sha256:" + "0" * 64])
    size: int = Field(description="Bytes.")


def view(request: Request, run: Run) -> RunView:
    """Return what is shown of a run."""
    platform = platform_of(request)
    with platform.db.read() as connection:
        graph = jobs.of_graph(connection, run.id)
    return RunView(
        id=run.id,
        project=run.project,
        title=dict(run.title),
        organisation=run.organisation,
        submitted_by=run.submitted_by,
        submitted_at=run.submitted_at,
        state=runs.state_of(graph),
        jobs=[views.view(platform, job) for job in graph],
    )


def found(request: Request, run: str, actor: Actor, permission: Permission = Permission.PROJECTS_READ) -> Run:
    """Return a run that the actor may use in this way. Raises NotFound, Refused."""
    with platform_of(request).db.read() as connection:
        one = runs.get(connection, run)
    identity.require(actor, permission, one.organisation)
    return one


@router.get("/projects/schema", summary="JSON Schema of the project file")
def project_schema(actor: Reader) -> dict[str, Any]:  # noqa: ARG001 - signing in is what matters
    return schema.json_schema()


@router.post("/projects/check", summary="Check a project file without running it")
def checked(actor: Runner, project: ProjectIn) -> CheckedOut:  # noqa: ARG001 - the role is what matters
    one = checking.check(project.text, "project.yaml", project.files.__contains__)
    return CheckedOut(name=one.file.name, steps=list(one.order), files=list(one.files))


@router.post("/runs", summary="Run a project", status_code=201)
def submitted(request: Request, actor: Runner, project: RunIn) -> RunView:
    for name in project.files.values():
        check_name(name)
    wish = Wish(organisation=project.organisation, engine=project.engine, force=project.force)
    run = runs.submit(platform_of(request), actor, project.text, project.files, wish)
    wake(request)
    return view(request, run)


@router.get("/runs", summary="List runs, newest first")
def listed(request: Request, actor: Reader, limit: Annotated[int, Query(ge=1, le=1000)] = 50) -> list[RunView]:
    with platform_of(request).db.read() as connection:
        seen = runs.listed(connection, scopes=actor.scopes(Permission.PROJECTS_READ), limit=limit)
    return [view(request, run) for run in seen]


@router.get("/runs/{run}", summary="Look at one run")
def shown(request: Request, actor: Reader, run: str) -> RunView:
    return view(request, found(request, run, actor))


@router.post("/runs/{run}/cancel", summary="Ask for the end of a run", status_code=202)
def cancel(request: Request, actor: Runner, run: str) -> RunView:
    platform, one = platform_of(request), found(request, run, actor, Permission.PROJECTS_RUN)
    platform.db.write(lambda connection: runs.cancel(connection, one, actor=actor.id, at=platform.clock.now()))
    wake(request)
    return view(request, one)


@router.post("/artifacts", summary="Upload a file; the body is its bytes", status_code=201)
async def upload(request: Request, actor: Runner) -> ArtifactOut:
    platform = platform_of(request)
    folder = platform.settings.data_folder / "uploads"
    folder.mkdir(exist_ok=True)
    with NamedTemporaryFile(dir=folder) as file:
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
            if size > platform.settings.upload_max_bytes:
                raise LimitExceeded(f"The upload is larger than {platform.settings.upload_max_bytes} bytes.", "Raise `upload_max_bytes`.")
            await run_in_threadpool(file.write, chunk)
        file.flush()
        name = await run_in_threadpool(platform.store.put_file, Path(file.name))
    now = platform.clock.now()
    await run_in_threadpool(platform.db.write, lambda connection: artifacts.hold(connection, [name], actor.organisation, at=now))
    return ArtifactOut(name=name, size=size)


@router.get("/artifacts/{digest}", summary="Download a file artifact, or the list of a tree's files", response_class=Response)
def download(request: Request, actor: ArtifactReader, digest: str, path: Annotated[str, Query(max_length=500)] = "") -> Response:
    platform = platform_of(request)
    name = check_name(digest if digest.startswith("sha256:") else f"sha256:{digest}")
    name = name + "/" if path and not is_tree(name) else name
    with platform.db.read() as connection:
        artifacts.require_held(connection, name, actor.scopes(Permission.ARTIFACTS_READ))
    data = platform.store.read(name, path, limit=LARGEST_INLINE)
    return Response(data, media_type="application/octet-stream", headers={"Content-Disposition": "attachment"})
