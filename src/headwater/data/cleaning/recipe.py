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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import Field

from headwater.core import canonical
from headwater.core.errors import BadFile, NotFound, Problem
from headwater.core.yaml_file import Part, parse, place, validated
from headwater.core.yaml_lines import Located
from headwater.data.cleaning import blocklist, images, language, personal, stages
from headwater.data.cleaning.images import ImageStage
from headwater.data.cleaning.stages import COMPARE, EDIT, JUDGE, ExactDuplicates, NearDuplicates, Stage

KIND = "cleaning recipe"
TEXT_SCHEMA, IMAGE_SCHEMA = "headwater.cleaning/1", "headwater.image-cleaning/1"
S = TypeVar("S", bound=Part)
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


class WrittenForImages(Part):
    """A recipe for images as it stands in its file."""

    schema_: Literal["headwater.image-cleaning/1"] = Field(alias="schema")
    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    stages: tuple[str | dict[str, Any], ...] = Field(min_length=1, max_length=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecipe:
    """A checked recipe for images; its stages are applied in the order of `images.STAGES`."""

    name: str
    stages: tuple[ImageStage, ...]

    def told(self) -> dict[str, Any]:
        """Return the recipe with every setting written out."""
        return {"name": self.name, "stages": [{stage.name: stage.model_dump(mode="json")} for stage in self.stages]}

    def digest(self) -> str:
        """Return the digest of the recipe."""
        return canonical.digest(self.told())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A checked recipe for text."""

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


def read(data: str | bytes, name: str) -> Recipe | ImageRecipe:
    """Return a recipe. Raises BadFile with every problem and its line."""
    located = parse(data, name, KIND)
    if isinstance(located.value, dict) and located.value.get("schema") == IMAGE_SCHEMA:
        return _for_images(located, name)
    return _for_text(located, name)


def _for_images(located: Located, name: str) -> ImageRecipe:
    written = validated(WrittenForImages, located, name, KIND)
    built = _stages(written.stages, images.STAGES, located, name)
    order = list(images.STAGES)
    return ImageRecipe(name=written.name, stages=tuple(sorted(built, key=lambda stage: order.index(stage.name))))


def _for_text(located: Located, name: str) -> Recipe:
    written = validated(Written, located, name, KIND)
    known = _stages(written.stages, STAGES, located, name)
    if problems := _out_of_order(known, located, name):
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


def _stages(written: Sequence[str | dict[str, Any]], kinds: Mapping[str, type[S]], located: Located, name: str) -> list[S]:
    """Return the stages. Raises BadFile with the problems of all of them."""
    problems: list[Problem] = []
    built = []
    for number, one in enumerate(written):
        try:
            built.append(_stage(number, one, kinds, located, name))
        except BadFile as error:
            problems.extend(error.problems)
    if problems:
        raise BadFile(problems, KIND)
    return built


def _stage(number: int, written: str | dict[str, Any], kinds: Mapping[str, type[S]], located: Located, name: str) -> S:
    where = place(located, ("stages", number), name)
    if isinstance(written, dict) and len(written) != 1:
        raise BadFile([Problem(where=where, what="A stage is one name with its settings.", hint="Write `- length: {least: 50}`.")], KIND)
    kind, settings = (written, {}) if isinstance(written, str) else next(iter(written.items()))
    if kind not in kinds:
        raise BadFile([Problem(where=where, what=f"There is no stage '{kind}'.", hint=f"There are: {', '.join(kinds)}.")], KIND)
    before = ("stages", number, kind)
    inner = Located(value=settings or {}, lines={path[3:]: line for path, line in located.lines.items() if path[:3] == before})
    return validated(kinds[kind], inner, name, KIND)


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


def shipped(name: str) -> Recipe | ImageRecipe:
    """Return a recipe that comes with Headwater. Raises NotFound."""
    if name not in presets():
        raise NotFound(f"No recipe '{name}' comes with Headwater.", f"There are: {', '.join(presets())}.")
    return read(_shipped().joinpath(f"{name}.yaml").read_bytes(), f"{name}.yaml")


def load(named: str) -> Recipe | ImageRecipe:
    """Return a recipe from a file, or one that comes with Headwater by its name. Raises NotFound or BadFile."""
    path = Path(named)
    return read(path.read_bytes(), path.name) if path.is_file() else shipped(named)


def _shipped() -> Any:
    return files("headwater.data.cleaning").joinpath("presets")
