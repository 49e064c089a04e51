"""Write `docs/reference/` from the code: settings, errors, steps, commands, routes, the project file.

`python3 dev.py docs` writes them; the test beside this file fails where they differ from the code.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import headwater
from headwater.core.errors import HeadwaterError
from headwater.core.settings import Settings
from headwater.core.steps import STEPS
from headwater.projects.schema import json_schema

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTE = "<!-- Written by `python3 dev.py docs` from the code. Change the code, not this page. -->\n\n"


def pages() -> dict[str, str]:
    """Return every reference page by file name."""
    made = {"settings.md": settings(), "errors.md": errors(), "steps.md": steps(), "commands.md": commands(), "routes.md": routes()}
    made["project-file.md"] = project_file()
    schema = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    return {name: NOTE + text.strip() + "\n" for name, text in made.items()} | {"project.schema.json": schema}


def settings() -> str:
    """Return the page of settings."""
    rows = [
        [f"`{name}`", f"`HEADWATER_{name.upper()}`", f"`{_default(field)}`", field.description or ""]
        for name, field in Settings.model_fields.items()
    ]
    told = "From the environment, then `headwater.toml` in the data folder, then the default. An unknown key is an error."
    return f"# Settings\n\n{told}\n\n" + _table(["setting", "variable", "default", "what it sets"], rows)


def errors() -> str:
    """Return the page of error codes: what each means, and the status it leaves."""
    _import_all()
    kinds = {kind.code: kind for kind in _subclasses(HeadwaterError)}
    rows = [
        [f"`{code}`", (kind.__doc__ or "").splitlines()[0], str(kind.exit_code), str(kind.http_status)]
        for code, kind in sorted(kinds.items())
    ]
    return "# Errors\n\n" + _table(["code", "meaning", "exit status", "HTTP status"], rows)


def steps() -> str:
    """Return the page of steps: their inputs, outputs and parameters."""
    parts = ["# Steps\n\nWhat a project's `uses` may name."]
    for name in STEPS.names():
        one = STEPS.get(name)
        parts.append(f"## {name}\n\n{one.summary} Runs {'inside the platform' if one.place == 'platform' else 'as a job on an engine'}.")
        ports = [[f"`{key}`", "input", port.kind, "yes" if port.required else "no", port.summary] for key, port in one.inputs.items()]
        ports += [[f"`{key}`", "output", port.kind, "yes" if port.required else "no", port.summary] for key, port in one.outputs.items()]
        if ports:
            parts.append(_table(["name", "", "kind", "always", ""], ports))
        if one.params.model_fields:
            rows = [[f"`{key}`", f"`{_default(field)}`", field.description or ""] for key, field in one.params.model_fields.items()]
            parts.append(_table(["parameter", "default", "meaning"], rows))
    return "\n\n".join(parts)


def commands() -> str:
    """Return the page of commands."""
    from headwater.cli.main import COMMANDS, _is_there, load

    status = "Exit status: 0 done, 1 refused or failed, 2 wrong usage or input, 3 something is not there."
    parts = [f"# Commands\n\nEvery command takes `--json`. {status}"]
    for name, entry in COMMANDS.items():
        if _is_there(entry.module):
            parts += _command(f"headwater {name}", load(name))
    return "\n\n".join(parts)


def _command(path: str, command: Any) -> Iterator[str]:
    children = getattr(command, "commands", {})
    if children:
        for name, child in children.items():
            yield from _command(f"{path} {name}", child)
        return
    rows = [
        [f"`{' '.join(one.opts)}`" if one.opts[0].startswith("-") else f"`{one.name.upper()}`", (getattr(one, "help", "") or "").strip()]
        for one in command.params
        if "--help" not in one.opts
    ]
    yield f"## {path}\n\n{(command.help or '').strip()}" + ("\n\n" + _table(["", ""], rows) if rows else "")


def routes() -> str:
    """Return the page of HTTP routes, from the OpenAPI document."""
    from headwater.core import platform
    from headwater.core import settings as reading
    from headwater.server.app import create_app

    with tempfile.TemporaryDirectory() as folder, platform.opened(reading.load(data_folder=Path(folder))) as opened:
        document = create_app(opened).openapi()
    rows = [
        [f"`{method.upper()}`", f"`{path}`", operation.get("summary", "")]
        for path, methods in sorted(document["paths"].items())
        for method, operation in methods.items()
    ]
    return "# Routes\n\nThe whole contract is at `/openapi.json` of a running server.\n\n" + _table(["", "path", "what it does"], rows)


def project_file() -> str:
    """Return the page of the project file, from its JSON Schema."""
    from headwater.projects.schema import ProjectFile, ResourcesEntry, StepEntry

    schema = "[project.schema.json](project.schema.json) (`headwater project schema` prints it)"
    parts = [f"# Project file\n\nThe same as JSON Schema is in {schema}: editors complete and check with it."]
    for title, model in (("Project", ProjectFile), ("Step", StepEntry), ("Resources", ResourcesEntry)):
        rows = [[f"`{field.alias or name}`", f"`{_default(field)}`", field.description or ""] for name, field in model.model_fields.items()]
        parts.append(f"## {title}\n\n" + _table(["key", "default", "meaning"], rows))
    return "\n\n".join(parts)


def _default(field: Any) -> str:
    if field.default_factory is not None:
        value = field.default_factory()
    elif field.default is PydanticUndefined:
        return "required"
    else:
        value = field.default
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    return json.dumps(value, default=str, ensure_ascii=False)


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line) + " |" for line in lines)


def _subclasses(kind: type[HeadwaterError]) -> Iterator[type[HeadwaterError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _subclasses(one)


def _import_all() -> None:
    for module in pkgutil.walk_packages(headwater.__path__, "headwater."):
        if "migrations" not in module.name and not module.name.endswith(("__main__", "runner", "_kernel")):
            importlib.import_module(module.name)


def main() -> None:
    """Write every page."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    typer.echo(f"wrote {len(pages())} pages to docs/reference")


if __name__ == "__main__":
    main()
