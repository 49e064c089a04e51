"""The project file: what may stand in it. `headwater project schema` prints this as JSON Schema for editors."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

NAME = r"^[a-z][a-z0-9-]{0,39}$"
STEP_NAME = r"^[a-z][a-z0-9_-]{0,39}$"


class Strict(BaseModel):
    """A part of the file that takes no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class ResourcesEntry(Strict):
    """What a step needs and may use."""

    cpus: float = Field(1.0, gt=0, le=4096, description="CPUs.")
    memory_gib: float = Field(1.0, gt=0, le=65536, description="Memory in GiB; a step that uses more is ended.")
    accelerators: dict[str, int] = Field(default_factory=dict, description="Accelerators by chip name, such as {h20: 8}.")
    wall_s: float = Field(3600.0, gt=0, le=30 * 86400, description="Longest run in seconds of wall time.")
    cpu_s: float | None = Field(None, gt=0, description="Longest run in seconds of CPU time.")
    retries: int = Field(0, ge=0, le=10, description="How often a failed run is tried again.")
    priority: float = Field(0.0, ge=-1000, le=1000, description="Higher goes first, where the scheduling policy looks at priorities.")
    deadline_s: float | None = Field(None, gt=0, description="Seconds after submission by which it should have ended.")
    checkpoint_s: float | None = Field(
        None, ge=0, description="Longest work in seconds between checkpoints it writes; 0: it writes one whenever it is stopped."
    )
    residency: tuple[str, ...] = Field(
        (), max_length=20, description="Tags that a site must all carry to run it, where the run may go to any site, such as [beijing]."
    )


class StepEntry(Strict):
    """One step of a project: a registered step (`uses`) or a command (`run`)."""

    uses: str | None = Field(None, description="Name of a registered step, such as data.prepare.")
    run: list[str] | None = Field(
        None, min_length=1, max_length=256, description="Command and arguments, run as they stand, without a shell."
    )
    with_: dict[str, Any] = Field(default_factory=dict, alias="with", description="Parameters; and inputs as 'step.output' or 'file:path'.")
    needs: list[str] = Field(
        default_factory=list, description="Steps that must succeed first, besides those whose outputs are inputs here."
    )
    outputs: list[str] = Field(
        default_factory=list, description="Names that a command leaves in outputs/. A registered step declares its own."
    )
    resources: ResourcesEntry | None = Field(None, description="What the step needs and may use; defaults are the step's own.")
    gate: list[str] = Field(default_factory=list, max_length=50, description="Conditions on measured figures, such as 'test_auc >= 0.70'.")


class ProjectFile(Strict):
    """A project: steps that turn data into a graded, gated, published and answering model."""

    schema_: Literal["headwater.project/1"] = Field(alias="schema", description="Always headwater.project/1.")
    name: str = Field(pattern=NAME, description="Short name: lower-case letters, digits and hyphens.")
    title: dict[Literal["zh", "en"], str] = Field(default_factory=dict, description="Title for people, in Chinese and English.")
    description: str = Field("", max_length=4000, description="What the project is for.")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of everything random in it.")
    steps: dict[str, StepEntry] = Field(min_length=1, max_length=2000, description="The steps by name.")


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema of a project file, with the registered steps' names as choices."""
    from headwater.core.steps import STEPS

    schema = ProjectFile.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Headwater project"
    schema["$defs"]["StepEntry"]["properties"]["uses"]["examples"] = list(STEPS.names())
    return schema
