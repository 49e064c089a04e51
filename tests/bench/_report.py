"""How every benchmark reports: a table with the bar beside each figure, JSON, and one closing line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured figure; `at_most` or `at_least` is its bar, where it has one."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.value <= self.at_most) and (self.at_least is None or self.value >= self.at_least)

    @property
    def bar(self) -> str:
        """The bar as people read it."""
        if self.at_most is not None:
            return f"<= {self.at_most:g}"
        return f">= {self.at_least:g}" if self.at_least is not None else ""


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "load": os.getloadavg()[0],
    }


def report(name: str, figures: Sequence[Figure], *, check: bool, file: Path | None) -> int:
    """Print the table and the closing line, write the JSON, and return the exit status."""
    width = max(len(one.name) for one in figures)
    print(f"\n{name}  ({machine()['cpus']} CPUs, Python {machine()['python']}, load {machine()['load']:.1f})")
    for one in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[one.met]
        print(f"  {one.name:<{width}}  {one.value:>12,.4g} {one.unit:<10} {one.bar:<12} {verdict:<7} {one.note}".rstrip())
    barred = [one for one in figures if one.met is not None]
    met = sum(bool(one.met) for one in barred)
    if file is not None:
        told = {"benchmark": name, "machine": machine(), "figures": [asdict(one) | {"met": one.met} for one in figures]}
        file.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(f"bars met: {met} of {len(barred)}")
    return 1 if check and met < len(barred) else 0


def main(name: str, measure: Callable[[], Sequence[Figure]]) -> None:
    """Run a benchmark from the command line and leave with its status."""
    parser = argparse.ArgumentParser(prog=f"dev.py bench {name}")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bar is missed")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    asked = parser.parse_args()
    sys.exit(report(name, measure(), check=asked.check, file=asked.json))
