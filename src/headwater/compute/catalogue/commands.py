"""`headwater compute …`: the catalogue of chips, files of sites, and what this machine itself measures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headwater.core import output

app = typer.Typer(no_args_is_help=True, help="Chips, sites, and what this machine measures.")
SHOWN = ("bf16_tflops", "memory_gib", "memory_bandwidth_gb_s", "power_w")


@app.command("chips")
def listed(vendor: Annotated[str | None, typer.Option(help="Only chips of this vendor.")] = None) -> None:
    """List the chips of the catalogue; a figure that no source gives stays empty."""
    from headwater.compute.catalogue.chips import FIGURES, chips
    from headwater.compute.catalogue.figures import Figure, Unknown

    def told(figure: Figure | Unknown) -> str | None:
        return None if isinstance(figure, Unknown) else f"{figure.value:g} ({figure.confidence})"

    shown = [name for name in SHOWN if name in FIGURES]
    kept = [chip for chip in chips() if vendor is None or chip.vendor == vendor]
    rows = [{"chip": chip.id, **{name: told(chip.figure(name)) for name in shown}} for chip in kept]
    output.rows(rows, empty=f"No chips of '{vendor}'.")


@app.command("probe")
def probe(
    device: Annotated[str | None, typer.Option(help="Torch device; every one that is here where left out.")] = None,
    seconds: Annotated[float, typer.Option(min=0.05, max=60, help="Time to spend on each figure.")] = 1.0,
) -> None:
    """Measure this machine's matrix product and memory copy, as figures for the catalogue's `measured` column."""
    from headwater.compute.catalogue import probe as probing
    from headwater.compute.catalogue.chips import chips

    here, absent = probing.devices(chips())
    for one in [device] if device is not None else here:
        found = probing.probe(one, seconds_each=seconds)
        output.record(
            {
                "device": found.device,
                "figures": {name: f"{figure.value:.6g}" for name, figure in found.figures.items()},
                "skipped": {skip.what: skip.reason for skip in (*found.skipped, *absent)},
                "for the catalogue": found.toml(),
            }
        )


@app.command("sites")
def sites(file: Annotated[Path, typer.Argument(help="A file of sites and links.", exists=True, dir_okay=False)]) -> None:
    """Check a file of sites and list them; everything wrong in it is reported at once."""
    from headwater.compute.catalogue.sites import sites as read

    told = [{"site": one.id, "name": one.name, "owner": one.owner, "region": one.region, "engine": one.engine} for one in read(file)]
    output.rows(told)
