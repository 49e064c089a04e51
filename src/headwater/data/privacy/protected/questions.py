"""The questions that may be asked of a protected table: typed, bounded, and nothing else."""

from __future__ import annotations

import math
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from headwater.core.errors import BadInput
from headwater.core.yaml_file import Part
from headwater.data.privacy.protected.holding import Protected

if TYPE_CHECKING:
    import polars as pl

Name = Annotated[str, Field(min_length=1, max_length=200, examples=["age"])]
Number = Annotated[float, Field(allow_inf_nan=False)]
MOST_BINS = 200


class Condition(Part):
    """Rows that a question is about: one column compared with one value or several. A missing cell fits no condition."""

    column: Name
    is_: Literal["equal", "in", "at_least", "below"] = Field(alias="is")
    value: Number | Annotated[str, Field(max_length=400)] | tuple[Annotated[str, Field(max_length=400)], ...] = Field(examples=[18])


class PrivateQuestion(Part):
    """A question answered with noise, at the cost of `epsilon`."""

    kind: Literal["count", "sum", "mean", "histogram", "quantile"]
    column: Name | None = Field(None, description="Not for a count.")
    lower: Number | None = Field(None, description="Values below count as this; the column's minimum where left out.")
    upper: Number | None = Field(None, description="Values above count as this; the column's maximum where left out.")
    bins: int | None = Field(None, ge=1, le=MOST_BINS, description="For the histogram of a number: how many equal bins.")
    share: float | None = Field(None, gt=0, lt=1, description="For a quantile: 0.5 is the median.")
    where: tuple[Condition, ...] = Field((), max_length=8)
    epsilon: float = Field(gt=0, le=100, allow_inf_nan=False, examples=[0.1])

    @model_validator(mode="after")
    def _whole(self) -> PrivateQuestion:
        if (self.kind == "count") == (self.column is not None):
            raise ValueError("a count takes no column, every other question needs one")
        if self.share is not None and self.kind != "quantile":
            raise ValueError("only a quantile takes a share")
        if self.kind == "quantile" and self.share is None:
            raise ValueError("a quantile needs a share, such as 0.5")
        if self.bins is not None and self.kind != "histogram":
            raise ValueError("only a histogram takes bins")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError("lower must lie below upper")
        return self


class Measure(Part):
    """One figure of each cell."""

    kind: Literal["sum", "mean"]
    column: Name


class AggregateQuestion(Part):
    """Exact counts, sums and means over groups of rows; small cells are not given."""

    group_by: tuple[Name, ...] = Field((), max_length=3)
    measures: tuple[Measure, ...] = Field((), max_length=8, description="The count is always given.")
    where: tuple[Condition, ...] = Field((), max_length=8)

    @model_validator(mode="after")
    def _distinct(self) -> AggregateQuestion:
        if len(set(self.group_by)) < len(self.group_by):
            raise ValueError("a column is grouped by twice")
        return self


def selected(frame: pl.DataFrame, table: Protected, where: tuple[Condition, ...]) -> pl.Series:
    """Return which rows fit all conditions. Raises BadInput for a column that may not be asked about, or a value of the wrong kind."""
    import polars as pl

    if not where:
        return pl.repeat(value=True, n=frame.height, eager=True)
    return frame.select(reduce(and_, [_fits(table, one) for one in where]).fill_null(value=False).alias("fits"))["fits"]


def _fits(table: Protected, condition: Condition) -> pl.Expr:
    import polars as pl

    column = table.column(condition.column)
    cell, value = pl.col(column.name), condition.value
    if condition.is_ == "in":
        if column.kind != "category" or not isinstance(value, tuple):
            raise BadInput("'in' takes a list of texts and a category.", "Use equal, at_least or below.", where=column.name)
        return cell.is_in([*value])
    wanted = float if column.kind == "number" else str
    if not isinstance(value, wanted) or (condition.is_ != "equal" and column.kind != "number"):
        raise BadInput(f"'{column.name}' is a {column.kind}; '{condition.is_}' does not take {value!r}.", "Compare numbers with numbers.")
    if isinstance(value, float) and not math.isfinite(value):
        raise BadInput(f"{value} is not a finite number.", "Give one.", where=column.name)
    return {"equal": cell == value, "at_least": cell >= value, "below": cell < value}[condition.is_]
