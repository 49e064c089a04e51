"""Write the released rows of an anonymous table: CSV, or Parquet in which untouched columns keep their types."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from headwater.data.privacy.anonymity.anonymise import Anonymous
from headwater.data.privacy.documents import is_parquet, write_table


def write_released(made: Anonymous, source: Path, target: IO[bytes], *, parquet: bool) -> None:
    """Write a table that was made anonymous from `source`."""
    if not (parquet and is_parquet(source)):
        write_table(target, made.names, made.records, parquet=parquet)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    whole = pq.read_table(source).filter(pa.array(made.kept))
    columns = {
        name: pa.array([record[place] for record in made.records], pa.string()) if name in made.generalised else whole.column(name)
        for place, name in enumerate(made.names)
    }
    pq.write_table(pa.table(columns), target, compression="zstd")
