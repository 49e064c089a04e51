"""Read the parts of a data set as a model needs them: a float32 matrix and the place of each row's class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import BadInput
from headwater.core.tabular import Signature

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Rows float32 [n, columns] in the signature's order, and labels int64 [n], places in its classes."""

    rows: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


def read_part(dataset: Path, part: str, signature: Signature) -> Examples:
    """Return one part of a data set. Raises BadInput naming row and column where it does not fit the signature."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    where = f"{part}.parquet"
    try:
        table = pq.read_table(dataset / where, columns=[*signature.names, signature.target], use_threads=False)
    except FileNotFoundError as error:
        raise BadInput(f"The data set has no part '{part}'.", "Make it with data.prepare.", where=where) from error
    except pa.ArrowException as error:
        raise BadInput(f"The part cannot be read: {error}.", "Make the data set again.", where=where) from error
    for name in (*signature.names, signature.target):
        if name not in table.column_names:
            raise BadInput(f"The column '{name}' is missing.", "Use the data set that the model was made for.", where=where)
        if nulls := table.column(name).null_count:
            raise BadInput(
                f"{nulls} of {table.num_rows} values of '{name}' are missing, and a model takes none.",
                "Give a value that stands for 'unknown', set such rows aside, or give the column the role 'ignore'.",
                where=where,
            )
    rows = table.select(signature.names).to_pylist()
    places = {label: place for place, label in enumerate(signature.classes)}
    targets = table.column(signature.target).to_pylist()
    if unknown := next((label for label in targets if label not in places), None):
        raise BadInput(f"'{signature.target}' holds {unknown!r}.", f"Classes: {', '.join(map(str, places))}.", where=where)
    try:
        return Examples(rows=signature.matrix(rows), labels=np.array([places[label] for label in targets], dtype=np.int64))
    except BadInput as error:
        raise BadInput(error.what, error.hint, where=f"{where}, {error.where}") from error
