"""Zones and licences, as data: what comes with Headwater, and what the data folder adds under new names."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from headwater.core.errors import BadFile, BadInput, Problem
from headwater.core.yaml_file import Part, Words

NAME = "^[A-Za-z0-9][A-Za-z0-9.+-]{0,63}$"


class Licence(Part):
    """A licence, named by its SPDX identifier where it has one."""

    id: str = Field(pattern=NAME)
    title: Words
    url: str = ""
    open: bool


class Zone(Part):
    """A zone of public data and the furthest that a grant within it may go."""

    id: str = Field(pattern=NAME)
    title: Words
    about: Words
    purposes: tuple[str, ...] = Field(min_length=1)
    regions: tuple[str, ...] = Field(min_length=1, description="ISO 3166-2 codes.")
    longest_days: int = Field(ge=1)
    largest_count: int = Field(ge=1)
    onward_sharing: bool = False


R = TypeVar("R", Licence, Zone)


@dataclass(frozen=True)
class Vocabulary:
    """The zones and licences that a platform knows."""

    folder: Path | None = None
    """Where a `zones.toml` and a `licences.toml` may add to what comes with Headwater."""

    @cached_property
    def zones(self) -> Mapping[str, Zone]:
        """Every zone by id."""
        return _rows("zones", Zone, self.folder)

    @cached_property
    def licences(self) -> Mapping[str, Licence]:
        """Every licence by id."""
        return _rows("licences", Licence, self.folder)

    def licence(self, name: str) -> Licence:
        """Return a licence. Raises BadInput, listing those that are known."""
        return _known(self.licences, name, "licence")

    def zone(self, name: str) -> Zone:
        """Return a zone. Raises BadInput, listing those that are known."""
        return _known(self.zones, name, "zone")


def _known(rows: Mapping[str, R], name: str, what: str) -> R:
    if name not in rows:
        raise BadInput(f"There is no {what} '{name[:64]}'.", f"Known: {', '.join(rows)}. Add one in {what}s.toml of the data folder.")
    return rows[name]


def _rows(kind: str, row: type[R], folder: Path | None) -> Mapping[str, R]:
    """Return the shipped rows and the folder's. A row of the folder replaces a shipped one of the same name."""
    found = _read(files("headwater.data.catalogue").joinpath(f"{kind}.toml").read_bytes(), kind, row, f"{kind}.toml")
    if folder is not None and (more := folder / f"{kind}.toml").exists():
        found |= _read(more.read_bytes(), kind, row, str(more))
    return found


def _read(text: bytes, kind: str, row: type[R], where: str) -> dict[str, R]:
    try:
        told: dict[str, Any] = tomllib.loads(text.decode())
    except ValueError as error:  # not UTF-8, or not TOML: tomllib names the line
        raise BadInput(f"The file cannot be read: {error}.", "It is TOML in UTF-8.", where=where) from error
    if (schema := told.pop("schema", None)) != f"headwater.{kind}/1":
        raise BadInput(f"The schema is {schema!r}, not 'headwater.{kind}/1'.", where=where)
    rows, problems = {}, []
    for name, values in told.items():
        try:
            rows[name] = row.model_validate((values if isinstance(values, dict) else {}) | {"id": name})
        except ValidationError as error:
            problems += [Problem(where=f"{where}, {name}.{'.'.join(map(str, one['loc']))}", what=one["msg"]) for one in error.errors()]
    if problems:
        raise BadFile(problems, f"list of {kind}")
    return rows
