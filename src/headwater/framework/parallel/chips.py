"""What a plan needs of a chip, read as data from the catalogue of chips and the table of platforms.

Peaks are the data sheets': the calibration holds the part of them that training reaches. Where no data sheet
figure is known the measured one stands. A chip that lacks a figure which a plan needs is refused, not guessed.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from headwater.core.errors import BadInput, NotFound

LINK_SHARE = 0.5
"""Catalogues give a card's links in both directions together; a collective fills one."""
GENERIC_POWER_W = 700.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """One kind of chip: TFLOP/s by number format (0 where it has none), memory, links one way, and its server."""

    id: str
    name: str
    bf16_tflops: float
    fp8_tflops: float
    fp4_tflops: float
    tf32_tflops: float
    memory_gib: float
    memory_gb_s: float
    link_gb_s: float
    network_gb_s: float
    fast_group: int
    power_w: float
    assumed: tuple[str, ...]
    """What no source of this chip gives, and what stands there instead."""


@cache
def catalogue() -> Mapping[str, dict[str, Any]]:
    """Return the rows of the catalogue of chips by id."""
    text = files("headwater").joinpath("compute", "catalogue", "chips.toml").read_text(encoding="utf-8")
    return {_id(row): row for row in tomllib.loads(text)["chip"]}


@cache
def _platforms() -> list[dict[str, Any]]:
    text = files("headwater").joinpath("framework", "parallel", "platforms.toml").read_text(encoding="utf-8")
    found: list[dict[str, Any]] = tomllib.loads(text)["platform"]
    return found


def _id(row: Mapping[str, Any]) -> str:
    return "/".join(part for part in (row["vendor"], row["model"], row.get("variant", "")) if part)


@cache
def find(name: str) -> Chip:
    """Return the chip that a name means: an id, or the model and memory as people write it, such as A100-80GB.

    Raises NotFound with the nearest names, and BadInput where more than one chip fits or a figure is lacking.
    """
    known = catalogue()
    if name.lower() in known:
        return _chip(name.lower(), known[name.lower()])
    wanted = _parts(name)
    fits = [chip_id for chip_id, row in known.items() if _matches(wanted, chip_id, row)]
    if not fits:
        raise NotFound(f"No chip '{name[:80]}' in the catalogue.", _near(name, known))
    plain = [chip_id for chip_id in fits if not known[chip_id].get("variant")]
    plannable = plain or [chip_id for chip_id in fits if not _lacks(known[chip_id])] or fits
    models = {known[chip_id]["model"] for chip_id in plannable}
    if len(models) > 1 or _ambiguous(wanted, plannable, known):
        raise BadInput(f"'{name[:80]}' may be {' or '.join(plannable)}.", "Name one of them.")
    return _chip(plannable[0], known[plannable[0]])


def _parts(name: str) -> tuple[str, float | None]:
    found = re.fullmatch(r"(.+?)(?:[-_ ](\d+(?:\.\d+)?)\s*(?:gb|gib|g)?)?", name.strip().lower())
    if found is None:
        return "", None
    return re.sub(r"[^a-z0-9]", "", found[1]), float(found[2]) if found[2] else None


def _matches(wanted: tuple[str, float | None], chip_id: str, row: Mapping[str, Any]) -> bool:
    word, memory = wanted
    spellings = {re.sub(r"[^a-z0-9]", "", part) for part in (row["model"], chip_id, f"{row['model']}{row.get('variant', '')}")}
    sizes = [figure["value"] for figure in _figures(row, "memory_gib")]
    return word in spellings and (memory is None or any(abs(size - memory) <= 0.05 * memory for size in sizes))


def _ambiguous(wanted: tuple[str, float | None], fits: list[str], known: Mapping[str, dict[str, Any]]) -> bool:
    return wanted[1] is None and len({_value(known[chip_id], "memory_gib") for chip_id in fits}) > 1


def _near(name: str, known: Mapping[str, Any]) -> str:
    models = {row["model"]: chip_id for chip_id, row in known.items()}
    close = difflib.get_close_matches(_parts(name)[0] or name.lower(), models, n=3, cutoff=0.5)
    listed = ", ".join(models[one] for one in close) if close else ", ".join(sorted(models))
    return f"{'Near to it' if close else 'Known'}: {listed}; `headwater compute chips` lists all."


def _figures(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = row.get(name, [])
    return value if isinstance(value, list) else [value]


def _value(row: Mapping[str, Any], name: str) -> float:
    """Return the lowest that a data sheet claims, else the best measured figure, else 0."""
    figures = _figures(row, name)
    claimed = [float(figure["value"]) for figure in figures if figure["confidence"] == "claimed"]
    return min(claimed) if claimed else max((float(figure["value"]) for figure in figures), default=0.0)


def _lacks(row: Mapping[str, Any]) -> list[str]:
    need = [name for name in ("memory_gib", "memory_bandwidth_gb_s", "link_bandwidth_gb_s") if not _value(row, name)]
    return need if _value(row, "bf16_tflops") or _value(row, "fp16_tflops") else [*need, "bf16_tflops"]


def _chip(chip_id: str, row: Mapping[str, Any]) -> Chip:
    lacking = _lacks(row)
    if lacking:
        raise BadInput(
            f"The catalogue has no {', '.join(lacking)} of {chip_id}, so nothing can be planned on it.",
            "Measure it with `headwater compute probe`, or add a sourced figure to the catalogue.",
        )
    platform = next(one for one in _platforms() if chip_id.startswith(one["pattern"]))
    power, bf16 = _value(row, "power_w"), _value(row, "bf16_tflops") or _value(row, "fp16_tflops")
    assumed = [] if power else [f"power {GENERIC_POWER_W:.0f} W"]
    if not _value(row, "tf32_tflops"):
        assumed.append("TF32 at half the 16-bit rate")
    if not platform["pattern"]:
        assumed.append(f"{platform['fast_group']} chips a server and {platform['network_gb_s']:g} GB/s to others")
    return Chip(
        id=chip_id,
        name=row["name"],
        bf16_tflops=bf16,
        fp8_tflops=_value(row, "fp8_tflops"),
        fp4_tflops=float(platform.get("fp4_tflops", 0.0)),
        tf32_tflops=_value(row, "tf32_tflops") or bf16 / 2,
        memory_gib=_value(row, "memory_gib"),
        memory_gb_s=_value(row, "memory_bandwidth_gb_s"),
        link_gb_s=_value(row, "link_bandwidth_gb_s") * LINK_SHARE,
        network_gb_s=float(platform["network_gb_s"]),
        fast_group=int(platform["fast_group"]),
        power_w=power or GENERIC_POWER_W,
        assumed=tuple(assumed),
    )
