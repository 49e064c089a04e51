"""The command line's top level. No room is imported before one of its commands is called for.

Exit status: 0 done, 1 refused or failed, 2 wrong usage or input, 3 something needed is not there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from headwater import __version__
from headwater.core.errors import HeadwaterError
from headwater.core.output import OUTPUT


@dataclass(frozen=True, slots=True, kw_only=True)
class Lazy:
    """Where a command is: a Typer app, or the one command `only` of it."""

    module: str
    help: str
    app: str = "app"
    only: str | None = None
    more: str | None = None
    """A module with further commands of the same group, which stand on more than the group's room."""


COMMANDS = {
    "run": Lazy(module="headwater.cli.running", only="run", help="Run a project file and follow it to its end."),
    "up": Lazy(module="headwater.cli.up", only="up", help="Start the server and the console."),
    "admin-link": Lazy(module="headwater.cli.up", only="admin-link", help="Print a one-time link that signs in the administrator."),
    "project": Lazy(module="headwater.projects.commands", help="Check and run project files; look at runs."),
    "job": Lazy(
        module="headwater.compute.commands",
        more="headwater.cli.submitting",
        help="Hand in commands; look at jobs, follow their logs, ask why they wait, cancel them.",
    ),
    "site": Lazy(module="headwater.cli.sites", help="Where jobs run: register sites, check them, drain them."),
    "data": Lazy(module="headwater.data.commands", help="Public data: catalogue, opening plan, cleaning, privacy, grants, sharing."),
    "model": Lazy(module="headwater.models.commands", help="Published models, and asking them."),
    "case": Lazy(module="headwater.programmes.commands", help="Cases of declared procedures."),
    "plan": Lazy(module="headwater.plan.commands", help="The plan's clauses and their evidence."),
    "compute": Lazy(
        module="headwater.compute.commands",
        app="compute",
        help="Chips, sites, what this machine measures, how run times are predicted.",
    ),
    "quota": Lazy(module="headwater.compute.commands", app="quota", help="What organisations may hold at once, and their weights."),
    "usage": Lazy(
        module="headwater.compute.settlement.commands", app="usage", only="usage", help="What organisations used, and what it cost."
    ),
    "settle": Lazy(module="headwater.compute.settlement.commands", help="What sites are owed; budgets and compute vouchers."),
    "twin": Lazy(module="headwater.compute.twin.commands", help="Try scheduling policies on recorded traces."),
    "parallel": Lazy(module="headwater.framework.parallel.commands", only="parallel", help="Find the best parallel plans of a model."),
    "chip": Lazy(module="headwater.framework.chips.commands", help="What works on this machine's chips, and signed records of it."),
    "ledger": Lazy(module="headwater.cli.ledger", help="List and verify the ledger."),
    "statement": Lazy(module="headwater.cli.statement", help="Show, verify and revoke signed statements."),
    "token": Lazy(module="headwater.cli.people", app="tokens", help="Make and end API tokens."),
    "person": Lazy(module="headwater.cli.people", app="people", help="Add people and give them roles."),
    "organisation": Lazy(module="headwater.cli.people", app="organisations", help="Add organisations."),
    "settings": Lazy(module="headwater.cli.settings", help="Show the settings."),
    "openapi": Lazy(module="headwater.cli.settings", app="document", only="openapi", help="Print the server's OpenAPI document."),
}
"""Every command in the order of the help; one whose room is absent is left out."""


class Root(TyperGroup):
    """The top group: it lists commands by their entries in COMMANDS and loads the one that is called."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, entry in COMMANDS.items():
            if _is_there(entry.module):
                self.add_command(TyperCommand(name, help=entry.help))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Return the command that the arguments call for, loaded."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, (load(name) if name in COMMANDS else found), rest


app = typer.Typer(
    cls=Root,
    help="Headwater runs a city's AI plan: pooled compute, open data, trusted models, live evidence.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """Headwater runs a city's AI plan: pooled compute, open data, trusted models, live evidence."""


def load(name: str) -> Any:
    """Return a command with its whole tree, each with the option `--json`."""
    from headwater.server import log

    log.configure("warning")
    OUTPUT.json = False
    entry = COMMANDS[name]
    command: Any = typer.main.get_command(getattr(import_module(entry.module), entry.app))
    if entry.only is not None and isinstance(command, TyperGroup):
        command = command.commands[entry.only]
    if entry.more is not None:
        command.commands |= _commands(import_module(entry.more).app)
    command.name = name
    command.help = command.help or entry.help
    _add_json(command)
    return command


def _commands(app: typer.Typer) -> dict[str, Any]:
    """Return an app's commands by name, also where it has but one."""
    found: Any = typer.main.get_command(app)
    return dict(found.commands) if isinstance(found, TyperGroup) else {found.name: found}


def run() -> None:
    """Run the command line and leave with its exit status."""
    try:
        app(prog_name="headwater")
    except HeadwaterError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        sys.exit(error.exit_code)


def _set_json(asked: bool) -> bool:
    OUTPUT.json = OUTPUT.json or asked
    return asked


def _pattern(
    json: Annotated[bool, typer.Option("--json", callback=_set_json, expose_value=False, help="Print one JSON document.")] = False,
) -> None:
    """Never run: its option is the one that every command gets."""


def _add_json(command: Any) -> None:
    if isinstance(command, TyperGroup):
        for one in command.commands.values():
            _add_json(one)
        return
    if not any("--json" in parameter.opts for parameter in command.params):
        single = typer.Typer(add_completion=False)
        single.command()(_pattern)
        command.params.append(next(one for one in typer.main.get_command(single).params if "--json" in one.opts))


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
