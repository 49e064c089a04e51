"""Every problem of a data file at once, each with its place.

Pydantic finds them; here they become `Problem`s with the path in the file and one refusal.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from headwater.core.errors import BadFile, BadInput, Problem, Unavailable

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's tables.

    Raises Unavailable where the file cannot be read, BadInput where it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Unavailable(f"Cannot read the file: {error.strerror or error}.", "Check the name and the rights.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"Byte {error.start} is not UTF-8.", "Save the file as UTF-8.", where=str(path)) from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"Not TOML: {error}.", "Mend the line named.", where=str(path)) from error


def checked(model: type[Model], tables: dict[str, Any], path: Path) -> Model:
    """Return the tables as a model, or raise BadFile with all its problems."""
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        raise BadFile([_problem(found, tables) for found in error.errors(include_url=False)], f"file {path}") from error


def _problem(found: Any, tables: dict[str, Any]) -> Problem:
    message = str(found["msg"]).removeprefix("Value error, ")
    given = found["input"]
    shown = f" (given: {given!r:.80})" if not isinstance(given, dict | list) else ""
    return Problem(where=_place(found["loc"], tables), what=f"{message.rstrip('.')}{shown}.")


def _place(steps: Sequence[str | int], tables: Any) -> str:
    """Return a place such as `site[2] 'tianjin-wuqing' pool[0] chip`; a row's own id helps more than its number."""
    words: list[str] = []
    at = tables
    for step in steps:
        at = _inside(at, step)
        if isinstance(step, int):
            words[-1:] = [f"{words[-1] if words else ''}[{step}]"]
            name = next((str(at[key]) for key in ("id", "name") if isinstance(at, dict) and key in at), "")
            words += [f"'{name}'"] if name else []
        else:
            words.append(step)
    return " ".join(words) or "the file"


def _inside(tables: Any, step: str | int) -> Any:
    try:
        return tables[step]
    except (KeyError, IndexError, TypeError):
        return None
