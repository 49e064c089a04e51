"""The contract between a table and a model: which columns, in which order, coded how.

A model of tabular data takes one float32 matrix of shape [rows, columns]: the raw values, with
categories given as text replaced by their codes. Scaling and one-hot encoding happen inside the
model, so that whoever holds the model file and its `signature.json` can ask it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from headwater.core.errors import BadInput, Broken

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

SIGNATURE_FILE = "signature.json"


class Column(BaseModel):
    """One input column of a model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    type: Literal["integer", "number", "category"]
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[int | str, ...] = Field((), description="Allowed values of a category; text values are coded by their position.")
    immutable: bool = Field(False, description="A person cannot change it (age): attacks and explanations must not move it.")
    example: int | float | str | None = Field(None, description="A typical value: the median, or the most frequent category.")
    description: str = ""

    def code(self, value: Any) -> float:
        """Return the number that stands for a value. Raises BadInput saying what would be accepted."""
        if self.type == "category":
            if value not in self.values:
                raise BadInput(f"{value!r} is not a value of '{self.name}'.", f"Values: {', '.join(map(str, self.values[:40]))}.")
            return float(value) if not isinstance(value, str) else float(self.values.index(value))
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise BadInput(f"{value!r} is not a number.", f"'{self.name}' takes {self.type}s.")
        if self.type == "integer" and value != int(value):
            raise BadInput(f"{value!r} is not a whole number.", f"'{self.name}' takes integers.")
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise BadInput(f"{value} is outside {self.minimum} to {self.maximum}.", f"'{self.name}' must lie within.")
        return float(value)


class Signature(BaseModel):
    """What a model takes and gives back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: tuple[Column, ...]
    target: str
    classes: tuple[int | str, ...] = Field(description="The labels, in the order of the model's probability columns.")
    positive: int | str = Field(description="The label whose probability is the score; must be one of the classes.")

    @property
    def names(self) -> tuple[str, ...]:
        """The input columns' names, in order."""
        return tuple(column.name for column in self.columns)

    def matrix(self, rows: Sequence[Mapping[str, Any]]) -> npt.NDArray[np.float32]:
        """Return rows as the model's input, float32 [rows, columns]. Raises BadInput naming row and column."""
        import numpy as np

        result = np.empty((len(rows), len(self.columns)), dtype=np.float32)
        for number, row in enumerate(rows):
            if unknown := sorted(set(row) - set(self.names)):
                raise BadInput(f"Unknown column '{unknown[0]}'.", f"Columns: {', '.join(self.names)}.", where=f"row {number}")
            for place, column in enumerate(self.columns):
                if column.name not in row:
                    raise BadInput(f"The column '{column.name}' is missing.", "Give every column.", where=f"row {number}")
                try:
                    result[number, place] = column.code(row[column.name])
                except BadInput as error:
                    raise BadInput(error.what, error.hint, where=f"row {number}, column '{column.name}'") from None
        return result


def read_signature(folder: Path) -> Signature:
    """Return the signature that lies beside a model. Raises Broken where it does not fit."""
    try:
        return Signature.model_validate_json((folder / SIGNATURE_FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise Broken(
            f"The model's signature cannot be read: {error}.", "Deploy the model again.", where=str(folder / SIGNATURE_FILE)
        ) from error
