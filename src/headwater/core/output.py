"""What commands print: tables for people, or one JSON document with `--json`. Nothing else prints.

Every command has the option `--json`; a command need not declare it. A command prints its result
once, with `rows`, `record` or `document`, and may talk to people with `say`, which goes to the standard
error stream so that a JSON result stays alone on the standard output.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.clock import to_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType


WIDTH_OF_A_PIPE = 160


class Output:
    """How this process prints; `json` is set by the command line."""

    def __init__(self) -> None:
        self.json = False


OUTPUT = Output()


def as_json() -> bool:
    """Tell whether the caller asked for JSON."""
    return OUTPUT.json


def rows(
    values: Sequence[Mapping[str, Any]], *, columns: Mapping[str, str] | None = None, title: str = "", empty: str = "Nothing here yet."
) -> None:
    """Print rows: a table of the named columns (key to heading), or a JSON list of the whole rows."""

    def table() -> RenderableType:
        from rich.table import Table

        if not values:
            return empty
        shown = columns or {key: key.replace("_", " ") for key in values[0]}
        drawn = Table(title=title or None, title_justify="left", header_style="bold")
        for heading in shown.values():
            drawn.add_column(heading, overflow="fold")
        for row in values:
            drawn.add_row(*(cell(row.get(key)) for key in shown))
        return drawn

    document(list(values), table)


def record(value: Mapping[str, Any], *, title: str = "") -> None:
    """Print one thing: its fields one to a line, or a JSON object."""

    def table() -> RenderableType:
        from rich.table import Table

        drawn = Table(title=title or None, title_justify="left", show_header=False, box=None, pad_edge=False)
        drawn.add_column(no_wrap=True)
        drawn.add_column(overflow="fold")
        for key, one in value.items():
            drawn.add_row(f"[bold]{key.replace('_', ' ')}[/bold]", cell(one))
        return drawn

    document(value, table)


def document(value: Any, human: Callable[[], RenderableType]) -> None:
    """Print a value as JSON, or what `human` draws of it."""
    if OUTPUT.json:
        sys.stdout.write(json.dumps(value, default=plain, ensure_ascii=False, indent=2) + "\n")
        sys.stdout.flush()
    else:
        console().print(human())


def say(text: str) -> None:
    """Tell a person something that is not the result; goes to standard error."""
    console(to_error=True).print(text, markup=False, highlight=False, soft_wrap=True)


def console(*, to_error: bool = False) -> Console:
    """Return the Rich console of an output stream; what is piped elsewhere is drawn wide, so that nothing is folded early."""
    from rich.console import Console

    stream = sys.stderr if to_error else sys.stdout
    return Console(stderr=to_error, width=None if stream.isatty() else WIDTH_OF_A_PIPE)


def cell(value: Any) -> str:
    """Return a value as a table cell: blank for None, a person's form for times and lists; markup is not read."""
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "\n".join(f"{escape(str(key))}: {cell(one)}" for key, one in value.items())
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(cell(one) for one in value)
    return escape(str(value))


def plain(value: Any) -> Any:
    """Return a value that JSON has no form for as one that it has. Raises TypeError for a stranger."""
    if isinstance(value, datetime):
        return to_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
