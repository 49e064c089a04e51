"""The steps of the hub as a project runs them: publish, serve, and what lets an earlier run be reused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from headwater.core.errors import BadInput, GateClosed
from headwater.core.platform import Platform
from headwater.core.statement import TRUST_GRADE
from headwater.core.steps import Step, Task
from headwater.models import publishing, steps
from tests.flow.models.evidence_for_models import revoke, stored_model, vouch


def run(
    site: Platform, step: Step, folder: Path, job: str, *, inputs: dict[str, Path] | None = None, model: str = "", **params: Any
) -> Task:
    task = Task(
        step=step.name,
        params=step.params.model_validate(params),
        folder=folder / job,
        inputs=inputs or {},
        digests={"model": model},
        job=job,
        actor="p1",
        organisation="city",
        platform=site,
    )
    step.run(task)
    return task


def test_publish_then_serve_gives_the_address_and_both_can_be_reused(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    held = vouch(site, digest)
    published = run(site, steps.publish, tmp_path, "r1.publish", model=digest, name="credit")
    told = json.loads(published.outputs["version"].read_text(encoding="utf-8"))
    assert (told["model"], told["number"], told["digest"]) == ("credit", 1, digest)
    served = run(site, steps.serve, tmp_path, "r1.serve", inputs={"publication": published.outputs["version"]})
    assert served.facts["address"] == "/models/credit/predict"
    assert steps.publication_holds(site, published.facts)
    assert steps.deployment_holds(site, served.facts)
    revoke(site, held[TRUST_GRADE])
    assert not steps.publication_holds(site, published.facts)
    assert not steps.deployment_holds(site, served.facts)


def test_a_refused_model_fails_the_step_with_every_reason(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest, {"fairness": "E"})
    with pytest.raises(GateClosed, match="fairness is E; at least D is needed"):
        run(site, steps.publish, tmp_path, "r1.publish", model=digest, name="credit")
    assert run(site, steps.publish, tmp_path, "r2.publish", model=digest, name="credit", minimum={"fairness": "E"}).facts["version"] == 1


def test_a_deployment_is_not_reused_once_a_newer_version_is_there(site: Platform, tmp_path: Path) -> None:
    first, second = stored_model(site, tmp_path), stored_model(site, tmp_path, bias=1.0)
    vouch(site, first)
    vouch(site, second)
    one = run(site, steps.publish, tmp_path, "r1.publish", model=first, name="credit")
    newest = run(site, steps.serve, tmp_path, "r1.serve", name="credit")
    exact = run(site, steps.serve, tmp_path, "r1.exact", inputs={"publication": one.outputs["version"]})
    run(site, steps.publish, tmp_path, "r2.publish", model=second, name="credit")
    assert not steps.deployment_holds(site, newest.facts)
    assert steps.deployment_holds(site, exact.facts)
    run(site, steps.serve, tmp_path, "r2.serve", name="credit")
    assert not steps.deployment_holds(site, exact.facts)


def test_a_retired_version_is_not_reused(site: Platform, tmp_path: Path) -> None:
    digest = stored_model(site, tmp_path)
    vouch(site, digest)
    task = run(site, steps.publish, tmp_path, "r1.publish", model=digest, name="credit")
    publishing.retire(site, "credit", 1, reason="superseded", actor="o1")
    assert not steps.publication_holds(site, task.facts)
    assert not steps.publication_holds(site, {"model": "nothing", "version": 1})
    assert not steps.publication_holds(site, {})


@pytest.mark.parametrize("params", [{}, {"name": "other"}, {"version": 7}])
def test_serving_needs_to_know_exactly_what(site: Platform, tmp_path: Path, params: dict[str, Any]) -> None:
    publication = tmp_path / "version.json"
    publication.write_text(json.dumps({"model": "credit", "number": 1}), encoding="utf-8")
    with pytest.raises(BadInput):
        run(site, steps.serve, tmp_path, "r1.serve", inputs={"publication": publication} if params else {}, **params)


@pytest.mark.parametrize(
    "params", [{"name": "x", "risk_class": "U9"}, {"name": "x", "minimum": {"fairness": "F"}}, {"name": "x", "colour": 1}, {}]
)
def test_wrong_parameters_are_refused_before_anything_runs(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        steps.PublishParams.model_validate(params)
