"""A YAML file that a person writes, read into a pydantic model: all its problems at once, each with its line and key.

class Card(Part): ...

located = parse(data, "card.yaml", "card")
card = validated(Card, located, "card.yaml", "card")
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.core import yaml_lines
from headwater.core.errors import BadFile, Problem
from headwater.core.yaml_lines import Located, Path

M = TypeVar("M", bound=BaseModel)


class Part(BaseModel):
    """Base of what such a file holds: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Words(Part):
    """The same words in both of the console's languages."""

    zh: str = Field(min_length=1)
    en: str = Field(min_length=1)


def parse(data: str | bytes, name: str, kind: str, refusal: type[BadFile] = BadFile) -> Located:
    """Return the value of a YAML text, UTF-8 with or without a mark, and its line numbers. Raises `refusal` naming each problem's line."""
    try:
        return yaml_lines.load(data if isinstance(data, str) else data.decode("utf-8-sig"), name, kind)
    except UnicodeDecodeError as error:
        raise refusal([Problem(where=name, what=f"Byte {error.start} is not UTF-8.", hint="Save it as UTF-8.")], kind) from error
    except BadFile as error:
        raise refusal(error.problems, kind) from error


def validated(model: type[M], located: Located, name: str, kind: str, refusal: type[BadFile] = BadFile) -> M:
    """Return the value as the model. Raises `refusal` with every part that does not fit and its line."""
    try:
        return model.model_validate(located.value)
    except ValidationError as error:
        raise refusal([Problem(where=place(located, one["loc"], name), what=one["msg"]) for one in error.errors()], kind) from error


def place(located: Located, path: Path, name: str) -> str:
    """Return where a part stands: `file:line, key.0.key`."""
    return f"{name}:{located.line(path)}, {'.'.join(map(str, path)) or 'file'}"
