"""Make a table anonymous as declared, and say what it cost and what risk is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput
from headwater.data.privacy.anonymity import lattice
from headwater.data.privacy.anonymity.closeness import Constraint
from headwater.data.privacy.anonymity.declaration import Declaration, Sensitive
from headwater.data.privacy.anonymity.hierarchy import Hierarchy, hierarchy
from headwater.data.privacy.anonymity.risk import risk
from headwater.data.table import RawTable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

REPORT_SCHEMA = "headwater.anonymity-report/1"
LOSS = "general loss metric LM (Iyengar 2002): 0 as it stands, 1 everything lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anonymous:
    """The released rows as text, and the report: figures only, no value of any row."""

    names: tuple[str, ...]
    records: tuple[tuple[str | None, ...], ...]
    report: Mapping[str, Any]


def anonymise(table: RawTable, declared: Declaration, population: RawTable | None = None) -> Anonymous:
    """Return the table at the least loss within the declared bounds. Raises BadInput for columns or values that do not fit, Refused."""
    _check(table, declared, "table")
    columns = {name: [record[place] for record in table.records] for place, name in enumerate(table.names)}
    hierarchies = [hierarchy(name, quasi, columns[name]) for name, quasi in declared.quasi_identifiers.items()]
    coded = lattice.code(hierarchies, columns)
    constraints = [_constraint(name, one, columns[name]) for name, one in declared.sensitive.items() if one.l or one.t is not None]
    found = lattice.search(coded, declared.k, declared.suppression, constraints)
    released = _released(columns, hierarchies, found)
    names = tuple(name for name in table.names if name not in declared.drop)
    records = tuple(zip(*(released[name] for name in names), strict=True))
    return Anonymous(names=names, records=records, report=_report(table, declared, hierarchies, found, columns, released, population))


def _check(table: RawTable, declared: Declaration, where: str) -> None:
    if table.ragged:
        raise BadInput(f"A row has {table.ragged[0].reason}.", "Correct it.", where=f"{where}, row {table.ragged[0].row}")
    if not table.records:
        raise BadInput("The table has no rows.", "Give at least k rows.", where=where)
    wanted = [*declared.quasi_identifiers, *declared.sensitive, *declared.drop]
    if absent := [name for name in wanted if name not in table.names]:
        raise BadInput(f"There is no column '{absent[0]}'.", f"Columns: {', '.join(table.names)}.", where=where)


def _constraint(name: str, declared: Sensitive, cells: Sequence[str | None]) -> Constraint:
    import numpy as np

    known = sorted(
        {cell for cell in cells if cell is not None}, key=lambda cell: _as_number(cell, name, cells) if declared.ordered else 0.0
    )
    if not declared.ordered:
        known = sorted(known)
    numbers: dict[str | None, int] = {cell: number for number, cell in enumerate(known)}
    numbers.setdefault(None, len(numbers))
    values = np.array([numbers[cell] for cell in cells], np.int64)
    return Constraint(column=name, values=values, l=declared.l, diversity=declared.diversity, t=declared.t, ordered=declared.ordered)


def _as_number(cell: str, name: str, cells: Sequence[str | None]) -> float:
    try:
        return float(cell)
    except ValueError:
        raise BadInput(
            f"'{cell[:60]}' is not a number.", "Take off 'ordered'.", where=f"row {list(cells).index(cell)}, column '{name}'"
        ) from None


def _released(
    columns: Mapping[str, list[str | None]], hierarchies: Sequence[Hierarchy], found: lattice.Optimum
) -> dict[str, list[str | None]]:
    levels = {one.column: one.levels[found.levels[one.column]] for one in hierarchies}
    kept = found.kept.tolist()
    return {
        name: [levels[name][cell] if name in levels else cell for cell, stays in zip(cells, kept, strict=True) if stays]
        for name, cells in columns.items()
    }


def _report(
    table: RawTable,
    declared: Declaration,
    hierarchies: Sequence[Hierarchy],
    found: lattice.Optimum,
    columns: Mapping[str, Sequence[str | None]],
    released: Mapping[str, Sequence[str | None]],
    population: RawTable | None,
) -> dict[str, Any]:
    quasi = list(declared.quasi_identifiers)
    sizes = _sizes(found.classes[found.kept])
    rows = len(table.records)
    before, after = _people(population, declared, None), _people(population, declared, found)
    return {
        "schema": REPORT_SCHEMA,
        "rows": rows,
        "released_rows": rows - found.suppressed,
        "suppressed_rows": found.suppressed,
        "suppressed_share": found.suppressed / rows,
        "bounds": {
            "k": declared.k,
            "suppression": declared.suppression,
            "sensitive": {name: one.model_dump() for name, one in declared.sensitive.items()},
        },
        "levels": {name: {"level": level, "of": declared_levels(hierarchies, name)} for name, level in found.levels.items()},
        "loss": {"value": found.loss, "metric": LOSS},
        "discernibility": {
            "value": int((sizes**2).sum()) + found.suppressed * rows,
            "metric": "DM (Bayardo and Agrawal 2005): rows of each class squared; a row left out counts as the whole table",
        },
        "average_class": {"value": float(sizes.mean()), "metric": "rows released / classes (LeFevre et al. 2006 divide it by k)"},
        "lattice": {"nodes": found.nodes, "nodes_within_k_and_suppression": found.nodes_within_k, "nodes_weighed_whole": found.nodes_tried},
        "risk_before": asdict(risk(list(zip(*(columns[name] for name in quasi), strict=True)), declared.risk_threshold, before)),
        "risk_after": asdict(risk(list(zip(*(released[name] for name in quasi), strict=True)), declared.risk_threshold, after)),
    }


def declared_levels(hierarchies: Sequence[Hierarchy], name: str) -> int:
    """Return the number of a column's highest level."""
    return next(len(one.levels) - 1 for one in hierarchies if one.column == name)


def _sizes(classes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    import numpy as np

    return np.unique(classes, return_counts=True)[1].astype(np.int64)


def _people(population: RawTable | None, declared: Declaration, found: lattice.Optimum | None) -> list[tuple[str | None, ...]] | None:
    """Return the population's quasi-identifiers, as they stand or as generalised."""
    if population is None:
        return None
    _check_population(population, declared)
    cells = {name: [record[population.names.index(name)] for record in population.records] for name in declared.quasi_identifiers}
    if found is not None:
        for name, quasi in declared.quasi_identifiers.items():
            own = hierarchy(name, quasi, cells[name]).levels[found.levels[name]]
            cells[name] = [own[cell] for cell in cells[name]]
    return list(zip(*cells.values(), strict=True))


def _check_population(population: RawTable, declared: Declaration) -> None:
    if absent := [name for name in declared.quasi_identifiers if name not in population.names]:
        raise BadInput(f"There is no column '{absent[0]}'.", f"Columns: {', '.join(population.names)}.", where="population")
