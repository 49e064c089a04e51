"""A recipe: what a cleaning run reads of each record and which stages it goes through. A YAML file, checked whole.

schema: headwater.cleaning/1
name: web-zh
text: text                      # or a list of fields, or "*" for all columns of a table
stages:
  - normalise
  - length: {least: 50}
  - exact_duplicates
  - near_duplicates: {jaccard: 0.7}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from headwater.core import canonical
from headwater.core.errors import BadFile, NotFound, Problem
from headwater.core.yaml_file import Part, parse, place, validated
from headwater.core.yaml_lines import Located
from headwater.data.cleaning import blocklist, language, personal, stages
from headwater.data.cleaning.stages import COMPARE, EDIT, JUDGE, ExactDuplicates, NearDuplicates, Stage

KIND = "cleaning recipe"
STAGES: dict[str, type[Stage]] = {
    one.name: one
    for one in (
        *(stages.Normalise, stages.Remove, stages.Formulas, personal.PersonalData),
        *(language.Language, stages.Length, stages.Alphanumeric, stages.Letters, stages.SpecialCharacters, stages.Digits),
        *(stages.ControlCharacters, stages.CharacterRepetition, stages.GopherRepetition, stages.GopherQuality, blocklist.Blocklist),
        *(stages.Required, stages.DistinctFields, ExactDuplicates, NearDuplicates),
    )
}
"""Every stage for text by the name that a recipe calls it."""


class Written(Part):
    """A recipe as it stands in its file; stages are checked one by one."""

    schema_: Literal["headwater.cleaning/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    text: str | tuple[str, ...] = Field("text", description="The field that holds the text; several are judged together; `*` means all.")
    id: str | None = Field("id", description="The field by which a report names a document; its source and row where it has none.")
    broken: Literal["refuse", "set_aside"] = Field("refuse", description="What a record that cannot be read does to the run.")
    stages: tuple[str | dict[str, Any], ...] = Field(min_length=1, max_length=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A checked recipe."""

    name: str
    text: tuple[str, ...]
    """The text fields; empty for all columns."""
    id: str | None
    set_aside: bool
    edits: tuple[Stage, ...]
    judges: tuple[Stage, ...]
    exact: ExactDuplicates | None
    near: NearDuplicates | None

    @property
    def stages(self) -> tuple[Stage, ...]:
        """All stages in order."""
        return (*self.edits, *self.judges, *((self.exact,) if self.exact else ()), *((self.near,) if self.near else ()))

    def told(self) -> dict[str, Any]:
        """Return the recipe with every setting written out, as reports and digests have it."""
        written = [{stage.name: stage.model_dump(mode="json")} for stage in self.stages]
        return {"name": self.name, "text": list(self.text) or "*", "id": self.id, "set_aside": self.set_aside, "stages": written}

    def digest(self) -> str:
        """Return the digest of the recipe."""
        return canonical.digest(self.told())


def read(data: str | bytes, name: str) -> Recipe:
    """Return a recipe. Raises BadFile with every problem and its line."""
    located = parse(data, name, KIND)
    written = validated(Written, located, name, KIND)
    problems: list[Problem] = []
    built = [_stage(number, one, located, name, problems) for number, one in enumerate(written.stages)]
    known = [stage for stage in built if stage is not None]
    if not problems:
        problems += _out_of_order(known, located, name)
    if problems:
        raise BadFile(problems, KIND)
    text = () if written.text == "*" else (written.text,) if isinstance(written.text, str) else written.text
    return Recipe(
        name=written.name,
        text=text,
        id=written.id,
        set_aside=written.broken == "set_aside",
        edits=tuple(stage for stage in known if stage.order == EDIT),
        judges=tuple(stage for stage in known if stage.order == JUDGE),
        exact=next((stage for stage in known if isinstance(stage, ExactDuplicates)), None),
        near=next((stage for stage in known if isinstance(stage, NearDuplicates)), None),
    )


def _stage(number: int, written: str | dict[str, Any], located: Located, name: str, problems: list[Problem]) -> Stage | None:
    where = place(located, ("stages", number), name)
    if isinstance(written, dict) and len(written) != 1:
        problems.append(Problem(where=where, what="A stage is one name with its settings.", hint="Write `- length: {least: 50}`."))
        return None
    kind, settings = (written, {}) if isinstance(written, str) else next(iter(written.items()))
    if kind not in STAGES:
        problems.append(Problem(where=where, what=f"There is no stage '{kind}'.", hint=f"There are: {', '.join(STAGES)}."))
        return None
    inner = Located(value=settings or {}, lines={path[3:]: line for path, line in located.lines.items() if path[:3] == ("stages", number, kind)})
    try:
        return validated(STAGES[kind], inner, name, KIND)
    except BadFile as error:
        problems.extend(error.problems)
        return None


def _out_of_order(known: Sequence[Stage], located: Located, name: str) -> list[Problem]:
    problems = []
    for number, stage in enumerate(known):
        where = place(located, ("stages", number), name)
        if number and stage.order < known[number - 1].order:
            problems.append(
                Problem(
                    where=where,
                    what=f"'{stage.name}' cannot come after '{known[number - 1].name}'.",
                    hint="A recipe first edits, then judges, then compares documents.",
                )
            )
        if stage.order == COMPARE and sum(type(one) is type(stage) for one in known[: number + 1]) > 1:
            problems.append(Problem(where=where, what=f"'{stage.name}' stands here twice.", hint="Keep one."))
        if isinstance(stage, ExactDuplicates) and number and isinstance(known[number - 1], NearDuplicates):
            problems.append(Problem(where=where, what="Exact duplicates come before near ones.", hint="Swap the two."))
    return problems


def presets() -> tuple[str, ...]:
    """Return the names of the recipes that come with Headwater."""
    return tuple(sorted(one.name.removesuffix(".yaml") for one in _shipped().iterdir() if one.name.endswith(".yaml")))


def load(named: str) -> Recipe:
    """Return a shipped recipe by name, or one from a file. Raises NotFound or BadFile."""
    if named in presets():
        return read(_shipped().joinpath(f"{named}.yaml").read_bytes(), f"{named}.yaml")
    path = Path(named)
    if not path.is_file():
        raise NotFound(f"There is no recipe '{named}', as a file or among those that come with Headwater.", f"There are: {', '.join(presets())}.")
    return read(path.read_bytes(), path.name)


def _shipped() -> Any:
    return files("headwater.data.cleaning").joinpath("presets")
