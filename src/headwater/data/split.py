"""Put each row into one part: train, valid or test.

Either as a split file says, or by seeded stratified fractions. The second looks only at a row's content
and the seed, never at its place: the same rows in another order fall into the same parts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from headwater.core.errors import BadInput
from headwater.data.table import RawTable

Part = Literal["train", "valid", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


def read_assignments(table: RawTable, source_rows: int, where: str = "split") -> tuple[Part, ...]:
    """Return the part of every source row from a `row,part` table. Raises BadInput unless each row stands once."""
    if sorted(table.names) != ["part", "row"]:
        raise BadInput(f"A split file has the columns row,part; this one has {','.join(table.names)}.", "Correct the header.", where=where)
    if table.ragged:
        raise BadInput(f"A line has {table.ragged[0].reason}.", "Write row,part on each line.", where=f"{where}:{table.ragged[0].line}")
    row_place, part_place = table.names.index("row"), table.names.index("part")
    parts: dict[int, Part] = {}
    for record, line in zip(table.records, table.lines, strict=True):
        row, part = record[row_place] or "", record[part_place]
        here = f"{where}:{line}" if line else where
        if not (row.isascii() and row.isdigit() and int(row) < source_rows):
            raise BadInput(f"'{row[:40]}' is not a row of the table.", f"Rows are counted from 0 to {source_rows - 1}.", where=here)
        if part not in PARTS:
            raise BadInput(f"'{str(part)[:40]}' is not a part.", f"Parts: {', '.join(PARTS)}.", where=here)
        if int(row) in parts:
            raise BadInput(f"Row {row} stands twice.", "Give each row one part.", where=here)
        parts[int(row)] = part
    if absent := [row for row in range(source_rows) if row not in parts]:
        raise BadInput(f"{len(absent)} of {source_rows} rows have no part, the first is row {absent[0]}.", "Give each a part.", where=where)
    return tuple(parts[row] for row in range(source_rows))


def by_fractions(contents: Sequence[str], labels: Sequence[object], fractions: Mapping[Part, float], seed: int) -> tuple[Part, ...]:
    """Return a part for each row: within each label, rows ordered by SHA-256 of seed and content are cut at the fractions.

    Counts follow the largest-remainder rule per label. Rows of equal content may swap parts with each other only.
    """
    parts: list[Part] = ["train"] * len(contents)
    by_label: dict[object, list[int]] = {}
    for place, label in enumerate(labels):
        by_label.setdefault(label, []).append(place)
    for places in by_label.values():
        ordered = sorted(places, key=lambda place: (hashlib.sha256(f"{seed}\n{contents[place]}".encode()).digest(), place))
        start = 0
        for part, count in apportion(len(ordered), fractions).items():
            for place in ordered[start : start + count]:
                parts[place] = part
            start += count
    return tuple(parts)


def apportion(total: int, fractions: Mapping[Part, float]) -> dict[Part, int]:
    """Return whole counts that add up to `total`, each within one of its fraction (largest remainder; ties to the earlier part)."""
    exact = {part: total * fractions[part] for part in PARTS}
    counts = {part: int(share + 1e-9) for part, share in exact.items()}
    left = total - sum(counts.values())
    for part in sorted(PARTS, key=lambda part: (counts[part] - exact[part], PARTS.index(part)))[:left]:
        counts[part] += 1
    return counts


def refuse_if_unusable(parts: Sequence[Part], labels: Sequence[object], classes: Sequence[object]) -> None:
    """Raise BadInput where a part has no row, or train has no row of a class."""
    sizes = Counter(parts)
    if empty := [part for part in PARTS if not sizes[part]]:
        raise BadInput(f"The part '{empty[0]}' has no rows; the sizes are {dict(sizes)}.", "Give it a larger share, or more data.")
    seen = {label for label, part in zip(labels, parts, strict=True) if part == "train"}
    if absent := [one for one in classes if one not in seen]:
        raise BadInput(f"No row of the class {absent[0]!r} is in train.", "Use another split, or take the class off the card.")
