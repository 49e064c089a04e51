"""Artifacts are named by content, and still belong to somebody: knowing a name is no right to the bytes."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from headwater.compute import artifacts
from headwater.core import identity
from headwater.core.platform import Platform
from headwater.server.app import create_app
from tests.flow.server.in_process import TestClient


@pytest.fixture
def labs(site: Platform) -> dict[str, TestClient]:
    """Give a client for a developer of each of two labs."""

    def add(connection: identity.Connection) -> dict[str, str]:
        now, tokens = site.clock.now(), {}
        for name in ("east", "west"):
            identity.add_organisation(connection, f"city/{name}", name, actor="tester", at=now)
            person = identity.add_person(connection, name, f"city/{name}", actor="tester", at=now)
            identity.grant(connection, person, "developer", f"city/{name}", reason="test", actor="tester", at=now)
            tokens[name] = identity.issue_token(connection, person, kind="api", label="test", lasts=timedelta(hours=1), at=now)
        return tokens

    app = create_app(site)
    tokens = site.db.write(add)
    return {name: TestClient(app, headers={"Authorization": f"Bearer {token}"}) for name, token in tokens.items()}


def uploaded(client: TestClient, data: bytes) -> str:
    return str(client.post("/api/artifacts", content=data).json()["name"])


def test_who_uploads_a_file_can_read_it_and_another_lab_cannot(labs: dict[str, TestClient]) -> None:
    name = uploaded(labs["east"], b"secret rows")
    assert labs["east"].get(f"/api/artifacts/{name}").content == b"secret rows"
    assert labs["west"].get(f"/api/artifacts/{name}").status_code == 404


def test_a_forged_manifest_opens_nobody_elses_files(labs: dict[str, TestClient]) -> None:
    secret = uploaded(labs["east"], b"secret rows")
    manifest = {"schema": "headwater.tree/1", "files": {"stolen": {"digest": secret, "size": 11}}}
    forged = uploaded(labs["west"], json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode())
    for path in (f"/api/artifacts/{forged}?path=stolen", f"/api/artifacts/{forged}%2F?path=stolen", f"/artifacts/{forged}?path=stolen"):
        answer = labs["west"].get(path)
        assert path.startswith("/artifacts") or answer.status_code in (404, 422), (path, answer.status_code)
        assert b"secret rows" not in answer.content
    run = {"text": "schema: headwater.project/1\nname: theft\nsteps:\n  a: {run: [cat, inputs/x/stolen], with: {x: 'file:x'}}\n"}
    assert labs["west"].post("/api/runs", json=run | {"files": {"x": forged + "/"}}).status_code == 404


def test_a_path_in_what_is_no_tree_is_not_found(labs: dict[str, TestClient]) -> None:
    name = uploaded(labs["east"], b"plain")
    assert labs["east"].get(f"/api/artifacts/{name}?path=x").status_code == 404


def test_a_tree_that_a_job_made_is_read_file_by_file(
    site: Platform, labs: dict[str, TestClient], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tree")
    (folder / "a.txt").write_text("one", encoding="utf-8")
    tree = site.store.put(folder)
    site.db.write(lambda connection: artifacts.hold(connection, [tree], "city/east", at=site.clock.now()))
    assert labs["east"].get(f"/api/artifacts/{tree.removesuffix('/')}?path=a.txt").content == b"one"
    assert labs["west"].get(f"/api/artifacts/{tree.removesuffix('/')}?path=a.txt").status_code == 404
