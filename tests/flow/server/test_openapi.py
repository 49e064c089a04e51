"""The OpenAPI document is complete, and the application keeps what it says under generated requests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given
from hypothesis import settings as pace
from hypothesis.strategies import booleans
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from headwater.compute.dispatcher import Dispatcher
from headwater.core.platform import Platform
from headwater.server import log
from headwater.server.app import create_app
from headwater.server.problems import MEDIA_TYPE
from tests.flow.server.conftest import Token
from tests.flow.server.in_process import TestClient

METHODS = ("get", "post", "put", "patch", "delete")
EXAMPLES = 8
ERRORS = ("400", "401", "403", "404", "405", "409", "413", "422")


@pytest.fixture
def document(app: FastAPI) -> dict[str, Any]:
    """Give the OpenAPI document."""
    return app.openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every operation with its name."""
    for path, methods in document["paths"].items():
        for method in METHODS:
            if method in methods:
                yield f"{method.upper()} {path}", methods[method]


def test_every_operation_has_a_name_a_summary_a_tag_and_its_permission(document: dict[str, Any]) -> None:
    names = [told["operationId"] for _, told in operations(document)]
    assert len(names) == len(set(names))
    known = {tag["name"] for tag in document["tags"]}
    for name, told in operations(document):
        assert told.get("summary"), name
        assert set(told["tags"]) <= known, name
        assert told["security"] == [] or told.get("x-permission") or told.get("x-public"), name


def test_every_operation_tells_its_errors_as_problem_details(document: dict[str, Any]) -> None:
    reference = {"$ref": "#/components/schemas/Problem"}
    for name, told in operations(document):
        for status in ERRORS:
            assert told["responses"][status]["content"][MEDIA_TYPE] == {"schema": reference}, f"{name} {status}"


def test_every_json_body_comes_with_an_example_of_each_field_that_is_needed(document: dict[str, Any]) -> None:
    without = []
    for name, told in operations(document):
        for part in told.get("requestBody", {}).get("content", {}).values():
            schema = resolved(document, part["schema"])
            if schema.get("examples") or part.get("examples"):
                continue
            fields = schema.get("properties", {})
            without += [f"{name}: {field}" for field in schema.get("required", ()) if not exemplified(document, fields[field])]
    assert without == []


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its reference followed."""
    name = schema.get("$ref", "").rpartition("/")[2]
    return dict(document["components"]["schemas"][name]) if name else schema


def exemplified(document: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Tell whether a field shows what it takes: by example, by its values, or as a plain number."""
    told = resolved(document, schema)
    return any(key in told for key in ("examples", "example", "enum", "const")) or told.get("type") in ("integer", "number", "boolean")


def test_the_reference_page_lists_every_operation(document: dict[str, Any], anyone: Any) -> None:
    page = anyone.get("/reference").text
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page


CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
def test_no_generated_request_gets_a_server_error_or_an_answer_that_the_document_does_not_tell(
    busy: FastAPI, there: Mapping[str, str], token: Token, mode: GenerationMode
) -> None:
    headers = {"Authorization": f"Bearer {token()}"}
    schema = schemathesis.openapi.from_asgi("/openapi.json", busy)
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue

        @pace(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
        @given(operation.as_strategy(generation_mode=mode), booleans())
        def answered(case: Any, real: bool) -> None:
            if real:
                case.path_parameters = {name: there.get(name, value) for name, value in (case.path_parameters or {}).items()}
            case.call_and_validate(headers=headers, checks=CHECKS)

        answered()


@pytest.fixture
def busy(site: Platform) -> Iterator[FastAPI]:
    """Give the application with a dispatcher, so that what is asked of jobs happens."""
    log.configure("error")
    dispatcher = Dispatcher(site)
    dispatcher.start()
    yield create_app(site, dispatcher=dispatcher)
    dispatcher.stop()


@pytest.fixture
def there(busy: FastAPI, token: Token) -> Mapping[str, str]:
    """Give the names of things that are there, by path parameter: a run with its job and statement, a case, a person."""
    client = TestClient(busy, headers={"authorization": f"Bearer {token()}"})
    project = "schema: headwater.project/1\nname: hello\nsteps:\n  say: {run: [sh, -c, 'echo hi > outputs/note'], outputs: [note]}\n"
    run = client.post("/api/runs", json={"text": project}).json()
    assert "event: end" in client.get(f"/runs/{run['id']}/live").text
    statement = client.get("/api/statements").json()[0]
    case = client.post("/api/cases", json={"procedure": "algorithm-filing"})
    assert case.status_code == 201, case.text
    me = client.get("/api/me").json()["id"]
    described = {"name": "stops", "title": {"zh": "站点", "en": "Stops"}, "about": {"zh": "站", "en": "Stops"}, "licence": "CC-BY-4.0"}
    assert client.post("/api/data/sets", json=described).status_code == 201
    version = client.post("/api/data/sets/stops/versions?file=stops.csv", content=b"n,name\n1,x\n")
    assert version.status_code == 201, version.text
    rows = busy.state.platform.store.put_bytes(b"age,sex\n" + b"30,F\n40,M\n" * 20)
    columns = [{"name": "age", "kind": "number", "minimum": 0, "maximum": 120}, {"name": "sex", "kind": "category", "values": ["F", "M"]}]
    declared = {"artifact": rows, "columns": columns}
    table = client.post("/api/data/protected", json={"name": "people", "organisation": "city", "declared": declared}).json()["name"]
    client.post(f"/api/data/protected/{table}/budgets", json={"grantee": "city", "epsilon": 5, "reason": "test"})
    return {
        "run": run["id"],
        "job": run["jobs"][0]["id"],
        "digest": statement["digest"],
        "case": case.json()["id"],
        "person": me,
        "dataset": "stops",
        "number": "1",
        "file": "stops.csv",
        "table": table,
    }
