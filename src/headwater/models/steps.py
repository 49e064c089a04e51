"""What projects can call of this room: publish a model through the gate, and make it the one that answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import Field

from headwater.core.errors import BadInput, GateClosed, NotFound
from headwater.core.platform import Platform
from headwater.core.steps import Params, Port, Task, params_of, step
from headwater.models.policy import Grade, RiskClass

if TYPE_CHECKING:
    from headwater.models.hub import Model


class PublishParams(Params):
    """Parameters of `models.publish`."""

    name: str = Field(description="The name under which the model answers, such as `credit`.")
    risk_class: RiskClass = Field("U1", description="U1 minimal, U2 transparency, U3 rights or money, U4 safety; U0 is prohibited.")
    minimum: Mapping[str, Grade] = Field(
        default_factory=dict,
        description="Declared minimum grade by dimension (or `overall`). In U1 it replaces the policy's; elsewhere the stricter holds.",
    )
    title: Mapping[str, str] = Field(default_factory=dict, description="Title by language, `zh` and `en`.")


class ServeParams(Params):
    """Parameters of `models.serve`."""

    name: str = Field("", description="The model's name; not needed where the input `publication` is given.")
    version: int | None = Field(None, ge=1, description="The version to serve; the newest that is not retired unless given.")


def publication_holds(platform: Platform, facts: Mapping[str, Any]) -> bool:
    """Tell whether the version that an earlier run published may still answer."""
    return _standing_model(platform, facts) is not None


def deployment_holds(platform: Platform, facts: Mapping[str, Any]) -> bool:
    """Tell whether the version that an earlier run deployed is still the one that answers, may, and would be chosen again."""
    model = _standing_model(platform, facts)
    if model is None or model.served != facts.get("version"):
        return False
    newest = next(one.number for one in model.versions if one.retired_at is None)
    return not facts.get("newest") or newest == facts.get("version")


@step(
    "models.publish",
    summary="Admit a model to the hub if the statements and grades that its class of risk needs are there.",
    params=PublishParams,
    inputs={
        "model": Port("model.onnx", summary="The model to publish."),
        "report": Port("trust-report", required=False, summary="Orders this step after the evaluation; the gate reads the statement."),
        "record": Port("filing", required=False, summary="Orders this step after the filing; the gate reads the statement."),
    },
    outputs={"version": Port("publication", summary="The published version, as JSON.")},
    place="platform",
    still_holds=publication_holds,
)
def publish(task: Task) -> None:
    """Ask the gate, publish in one transaction, and write down the version."""
    from headwater.models import publishing

    params = params_of(task, PublishParams)
    wish = publishing.Publication(
        name=params.name,
        digest=task.digests["model"],
        risk_class=params.risk_class,
        declared=params.minimum,
        title=params.title,
        organisation=task.organisation,
        actor=task.actor,
        job=task.job,
    )
    version = publishing.publish(task.the_platform(), wish)
    told = json.dumps(version.as_json(), ensure_ascii=False, indent=2, sort_keys=True)
    task.output("version").write_text(told + "\n", encoding="utf-8")
    task.note(model=version.model, version=version.number, grades=dict(version.grades), statements=[version.publication])


@step(
    "models.serve",
    summary="Make a published model the one that answers at POST /models/<name>/predict.",
    params=ServeParams,
    inputs={
        "publication": Port("publication", required=False, summary="The version that models.publish made: exactly that one is served.")
    },
    place="platform",
    still_holds=deployment_holds,
)
def serve(task: Task) -> None:
    """Deploy the version, keyed by the job."""
    from headwater.models import publishing

    params = params_of(task, ServeParams)
    name, number = params.name, params.version
    if "publication" in task.inputs:
        told = json.loads(task.input("publication").read_text(encoding="utf-8"))
        if (name or told["model"], number or told["number"]) != (told["model"], told["number"]):
            raise BadInput(
                f"'{name}' version {number} is asked, and the publication is '{told['model']}' version {told['number']}.", "Drop one."
            )
        name, number = told["model"], told["number"]
    if not name:
        raise BadInput("Nothing says which model to serve.", "Give 'name', or the input 'publication'.")
    model = publishing.serve(task.the_platform(), name, job=task.job, actor=task.actor, number=number)
    task.note(model=model.name, version=model.served, newest=number is None, address=model.address)


def _standing_model(platform: Platform, facts: Mapping[str, Any]) -> Model | None:
    """Return the model whose version is named in `facts` if that version may still answer, else None."""
    from headwater.models import hub, policy, publishing

    try:
        with platform.db.read() as connection:
            model = hub.get(connection, str(facts.get("model")))
            version = model.version(int(facts.get("version") or 0))
            publishing.standing(connection, platform.keyring, version, policy.shipped(), now=platform.clock.now())
    except (NotFound, GateClosed):
        return None
    return model
