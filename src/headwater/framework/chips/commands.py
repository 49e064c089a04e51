"""`headwater chip …`: the devices of this machine, what works on them, what they give, and records of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.core import output
from headwater.core.options import Data

if TYPE_CHECKING:
    from rich.console import RenderableType

    from headwater.framework.chips.record import RecordRow

app = typer.Typer(no_args_is_help=True, help="Devices here: what works on them, what they give, and signed records of it.")
Name = Annotated[str | None, typer.Option("--device", help="Torch device, such as cuda:0; the first accelerator where left out.")]


@app.command("list")
def listed() -> None:
    """List the adapters, the devices of each that are here, and where this project has run it."""
    from headwater.framework.chips.adapter import adapters

    rows = [
        {
            "vendor": one.vendor,
            "torch device": one.torch_device,
            "collectives": one.collective or "unknown",
            "chips in the catalogue": len(one.facts()),
            "here": [device.name for device in one.detect()],
            "exercised": one.exercised or "not by this project",
        }
        for one in adapters()
    ]
    output.rows(rows)


@app.command()
def check(
    device: Name = None,
    seconds: Annotated[float, typer.Option(min=0, max=600, help="Time for each ladder of measurements; 0 measures nothing.")] = 1.0,
    ranks: Annotated[int, typer.Option(min=1, max=64, help="Processes that try the collectives; 1 leaves them out.")] = 2,
    out: Annotated[Path | None, typer.Option(help="Write the record to this file.")] = None,
    key: Annotated[Path | None, typer.Option(help="Sign it with this private key (PEM): the file is then a signed statement.")] = None,
) -> None:
    """Run the conformance suite and measure: what works for each operator, number format and collective, and how fast."""
    from headwater.core.clock import SystemClock
    from headwater.framework.chips.examine import device_named, examine
    from headwater.framework.chips.record import as_json, load_key, record, signed

    secret = None if key is None else load_key(key)
    adapter, one = device_named(device)
    told = record(adapter, one, examine(adapter, one, seconds=seconds, ranks=ranks), SystemClock().now())
    if out is not None:
        text = json.dumps(as_json(told), indent=1) if secret is None else signed(told, secret).to_json()
        out.write_text(text + "\n", encoding="utf-8")
    output.document(as_json(told), lambda: _drawn(told))


@app.command("key")
def new_key(file: Annotated[Path, typer.Argument(help="Where to write the private key.")]) -> None:
    """Make a key to sign records with, and print its public half for those who are to trust it."""
    import base64

    from headwater.framework.chips import record

    public = base64.b64encode(record.new_key(file).public_key().public_bytes_raw()).decode()
    output.record({"file": str(file), "public_key": public})


@app.command()
def keep(
    file: Annotated[Path, typer.Argument(help="A record that `check --out` wrote without a key.", exists=True, dir_okay=False)],
    data: Data = None,
) -> None:
    """Have the platform sign a record and show it in its matrix. A record signed elsewhere: `headwater statement import`."""
    from headwater.core import platform, settings
    from headwater.framework.chips import matrix
    from headwater.framework.chips.record import read

    told = read(file.read_bytes(), str(file))
    with platform.opened(settings.load(data_folder=data)) as opened:
        digest = matrix.keep(opened, told, actor=opened.found())
    output.record({"statement": digest, "device": told.device.name})


def _drawn(told: RecordRow) -> RenderableType:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from headwater.framework.chips.matrix import COLUMNS, KINDS, Entry

    entry = Entry(digest="", signed_by=(), why="", record=told)
    cells = Table(title=f"{told.device.name} ({told.device.torch_device}), torch {told.software.torch}", title_justify="left")
    for heading in ("works / tried", *COLUMNS):
        cells.add_column(heading)
    for kind in KINDS:
        found = [entry.cell(kind, dtype) for dtype in COLUMNS]
        cells.add_row(kind, *(f"{one.works}/{one.tried}" if one.tried else "–" for one in found))
    gaps = [Text(f"{verdict}: {kind} {name} in {', '.join(formats)}  {said}") for kind, name, formats, verdict, said in entry.gaps]
    figures = Table(title="measured, median", title_justify="left")
    for heading in ("figure", "format", "size", "value", "from", "to"):
        figures.add_column(heading)
    for one in told.figures:
        figures.add_row(one.name, one.dtype, str(one.size), f"{one.value:.4g} {one.unit}", f"{one.least:.4g}", f"{one.most:.4g}")
    rates = [Text(f"all-reduce of {size} bytes: {rate:.3g} GB/s") for size, rate in told.all_reduce_gb_s.items()]
    return Group(cells, *gaps, figures, *rates)
