"""The accelerators a city may own, addressed by vendor, model and variant, never by "gpu".

`chips()` reads the catalogue that ships with the package. Four vendors answer to `torch.cuda`, so a device
string never names a chip; the id `huawei/ascend910b/b3` does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator

from headwater.compute.catalogue import problems
from headwater.compute.catalogue.figures import Figure, FigureRow, FigureRows, Figures, Row, Text, Unknown, best, disputed
from headwater.core.errors import BadFile, NotFound, Problem

SHIPPED = Path(__file__).with_name("chips.toml")

FIGURES = (
    "memory_gib",
    "fp64_tflops",
    "fp32_tflops",
    "tf32_tflops",
    "fp16_tflops",
    "bf16_tflops",
    "fp8_tflops",
    "int8_tops",
    "memory_bandwidth_gb_s",
    "link_bandwidth_gb_s",
    "power_w",
)
"""Dense peaks in TFLOP/s or TOPS, bandwidths in GB/s (1e9 bytes), memory in GiB as sold, power in W."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Software:
    """What a job, a device plug-in and a scheduler call this vendor's chips."""

    torch_device: str
    query_command: str
    collective: str | None
    visible_devices: str
    kubernetes_resource: str
    slurm_gres: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One kind of accelerator and every figure read about it."""

    vendor: str
    model: str
    variant: str
    name: str
    software: Software
    figures: Mapping[str, Figures]
    country: str | None = None
    """Where the vendor has its seat, by ISO 3166; None is not known."""

    @property
    def id(self) -> str:
        """The chip's address: `vendor/model` or `vendor/model/variant`."""
        return "/".join(part for part in (self.vendor, self.model, self.variant) if part)

    def figure(self, name: str) -> Figure | Unknown:
        """Return the most trusted figure of that name, or Unknown with the reason.

        Raises NotFound for a name that is not in `FIGURES`.
        """
        return best(self.all(name), reason=f"No source for {name} of {self.id} is in the catalogue.")

    def all(self, name: str) -> Figures:
        """Return every figure of that name, or an empty tuple."""
        if name not in FIGURES:
            raise NotFound(f"'{name[:80]}' is not a figure of a chip.", f"Known: {', '.join(FIGURES)}.")
        return self.figures.get(name, ())

    def is_disputed(self, name: str) -> bool:
        """Tell whether sources of the same standing disagree about the figure."""
        return disputed(self.all(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Chips:
    """A catalogue of chips by id."""

    version: str
    by_id: Mapping[str, Chip]

    def __iter__(self) -> Iterator[Chip]:
        return iter(self.by_id.values())

    def __len__(self) -> int:
        return len(self.by_id)

    def __contains__(self, chip_id: object) -> bool:
        return chip_id in self.by_id

    def named(self, name: str) -> tuple[Chip, ...]:
        """Return the chips that a job or an engine may mean by a name: the one of that id, else all of that model or vendor/model."""
        if name in self.by_id:
            return (self.by_id[name],)
        return tuple(chip for chip in self if name in (chip.model, f"{chip.vendor}/{chip.model}"))

    def __getitem__(self, chip_id: str) -> Chip:
        try:
            return self.by_id[chip_id]
        except KeyError:
            raise NotFound(f"No chip '{chip_id[:80]}' in the catalogue.", _near(chip_id, self.by_id)) from None


def _near(chip_id: str, known: Mapping[str, Chip]) -> str:
    import difflib

    close = difflib.get_close_matches(chip_id, known, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(close)}?" if close else "Chips are named vendor/model or vendor/model/variant."


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,40}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{2,60}$")]
Resource = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+/[A-Za-z0-9._-]+$")]
Gres = Annotated[str, StringConstraints(pattern=r"^[a-z]+:[a-z0-9_.-]+$")]


class VendorRow(Row):
    """`[vendor.NAME]`."""

    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    torch_device: Name
    query_command: Text
    collective: Text | None = None
    visible_devices: Variable
    kubernetes_resource: Resource
    source: Text


class ChipRow(Row):
    """`[[chip]]`: names, then any of the figures."""

    vendor: Name
    model: Name
    variant: Name | Literal[""] = ""
    name: Text
    kubernetes_resource: Resource | None = None
    slurm_gres: Gres
    memory_gib: FigureRows | None = None
    fp64_tflops: FigureRows | None = None
    fp32_tflops: FigureRows | None = None
    tf32_tflops: FigureRows | None = None
    fp16_tflops: FigureRows | None = None
    bf16_tflops: FigureRows | None = None
    fp8_tflops: FigureRows | None = None
    int8_tops: FigureRows | None = None
    memory_bandwidth_gb_s: FigureRows | None = None
    link_bandwidth_gb_s: FigureRows | None = None
    power_w: FigureRows | None = None

    @model_validator(mode="after")
    def _nothing_assumed(self) -> ChipRow:
        assumed = [name for name in FIGURES if any(row.confidence == "assumed" for row in self.rows(name))]
        if assumed:
            raise ValueError(f"{', '.join(assumed)}: a chip's figure is claimed or measured; leave it out where it is unknown")
        return self

    @property
    def id(self) -> str:
        """The address that the row gives its chip."""
        return "/".join(part for part in (self.vendor, self.model, self.variant) if part)

    def rows(self, name: str) -> list[FigureRow]:
        """Return the figure rows of that name, or none."""
        return getattr(self, name) or []


class ChipsFile(Row):
    """The whole file."""

    schema_: Literal["headwater.chips/1"] = Field(alias="schema")
    version: Text
    vendor: dict[Name, VendorRow]
    chip: list[ChipRow]


@cache
def chips(path: Path = SHIPPED) -> Chips:
    """Return the chips of a catalogue file, by default the one that ships with the package.

    Raises BadFile with every problem of the file and its place.
    """
    file = problems.checked(ChipsFile, problems.read_toml(path), path)
    found = _cross_problems(file)
    if found:
        raise BadFile(found, f"file {path}")
    return Chips(version=file.version, by_id=MappingProxyType({row.id: _chip(row, file.vendor[row.vendor]) for row in file.chip}))


def _cross_problems(file: ChipsFile) -> list[Problem]:
    found: list[Problem] = []
    seen: dict[str, int] = {}
    for number, row in enumerate(file.chip):
        where = f"chip[{number}] '{row.name}'"
        if row.vendor not in file.vendor:
            found.append(Problem(where=f"{where} vendor", what=f"No [vendor.{row.vendor}] in the file.", hint="Add the vendor's table."))
        if row.id in seen:
            found.append(Problem(where=where, what=f"{row.id} is already chip[{seen[row.id]}].", hint="Give it a variant of its own."))
        seen.setdefault(row.id, number)
    return found


def _chip(row: ChipRow, vendor: VendorRow) -> Chip:
    facts: dict[str, Any] = vendor.model_dump(exclude={"country"}) | {
        "kubernetes_resource": row.kubernetes_resource or vendor.kubernetes_resource
    }
    figures = {name: tuple(figure.figure() for figure in row.rows(name)) for name in FIGURES if row.rows(name)}
    return Chip(
        vendor=row.vendor,
        model=row.model,
        variant=row.variant,
        name=row.name,
        software=Software(slurm_gres=row.slurm_gres, **facts),
        figures=MappingProxyType(figures),
        country=vendor.country,
    )
