"""The command line as a person and a script use it: real processes, exit statuses, JSON, no tracebacks."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from headwater.cli import main

HEAVY = ("torch", "onnxruntime", "onnx", "polars", "pyarrow", "numba", "numpy", "scipy", "sklearn", "fastapi", "sqlalchemy", "pydantic")


def headwater(*arguments: str, data: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, and return how it ended."""
    command = [sys.executable, "-m", "headwater", *arguments, *(["--data", str(data)] if data else [])]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HW_"))} | {"COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def leaves(command: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Return every command below one, with the words that call it."""
    if isinstance(command, TyperGroup):
        return [leaf for name, one in command.commands.items() for leaf in leaves(one, (*path, name))]
    return [(path, command)]


def every_command() -> list[tuple[tuple[str, ...], Any]]:
    return [leaf for name in main.COMMANDS if main._is_there(main.COMMANDS[name].module) for leaf in leaves(main.load(name), (name,))]


def test_help_lists_every_command_without_importing_anything_heavy() -> None:
    code = "import sys; sys.argv = ['headwater', '--help']\n"
    code += "from headwater.cli.main import run\ntry:\n    run()\nfinally:\n    print('LOADED', *sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    for name in ("run", "up", "ledger", "statement", "token", "model", "plan"):
        assert f" {name} " in found.stdout
    loaded = found.stdout.rpartition("LOADED ")[2].split()
    assert set(HEAVY) & set(loaded) == set()
    assert [name for name in loaded if name.startswith("headwater.") and name.endswith(".commands")] == []


def test_every_command_has_help_and_the_option_json() -> None:
    commands = every_command()
    assert len(commands) > 25
    for words, command in commands:
        assert command.help, words
        assert any("--json" in parameter.opts for parameter in command.params), words


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (["nonsense"], 2, "No such command"),
        (["ledger", "list", "--limit", "0"], 2, "--limit"),
        (["statement", "show", "sha256:" + "0" * 64], 1, "not_found: No statement"),
        (["person", "grant", "nobody", "viewer", "--reason", "because"], 1, "not_found: There is no person 'nobody'"),
        (["organisation", "add", "Not A Path", "--title", "x"], 1, "refused:"),
        (["statement", "revoke", "sha256:" + "0" * 64, "--reason", "because"], 1, "not_found:"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else None,
)
def test_what_goes_wrong_is_one_line_and_a_status(tmp_path: Path, words: list[str], status: int, says: str) -> None:
    needs_data = words[0] != "nonsense"
    found = headwater(*words, data=tmp_path / "data" if needs_data else None)
    assert found.returncode == status, found.stderr
    assert says in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


def test_a_server_that_is_not_there_is_status_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HW_TOKEN", "hw_api_x")
    command = [sys.executable, "-m", "headwater", "ledger", "list", "--server", "http://127.0.0.1:9"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 3
    assert found.stderr.startswith("unavailable: The server at http://127.0.0.1:9 does not answer")


Here = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Here:
    """Run the command line in this process, which spares its start, over one data folder; give status, output, messages."""

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["headwater", *words, "--data", str(tmp_path / "data")])
        with pytest.raises(SystemExit) as ended:
            main.run()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_people_roles_and_tokens_from_the_command_line(here: Here) -> None:
    def told(*words: str) -> Any:
        status, printed, said = here(*words, "--json")
        assert status == 0, said
        return json.loads(printed)

    assert told("organisation", "add", "city/haidian", "--title", "Haidian")["path"] == "city/haidian"
    assert told("person", "add", "li.wei", "--organisation", "city/haidian")["name"] == "li.wei"
    granted = told("person", "grant", "li.wei", "developer", "--scope", "city/haidian", "--reason", "joins the team")
    assert [one["role"] for one in granted["grants"]] == ["developer"]
    assert told("token", "create", "laptop", "--person", "li.wei")["token"].startswith("hw_api_")
    listed = told("token", "list", "--person", "li.wei")
    assert [one["label"] for one in listed] == ["laptop"]
    assert here("token", "revoke", listed[0]["id"], "--person", "li.wei")[0] == 0
    assert told("token", "list", "--person", "li.wei") == []
    kinds = {one["kind"] for one in told("ledger", "list", "--limit", "100")}
    assert {"organisation.added", "person.added", "role.granted", "token.issued", "token.revoked"} <= kinds
    assert told("ledger", "verify")["intact"] is True


def test_limited_tokens_passwords_and_signing_out_from_the_command_line(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(*words: str) -> Any:
        status, printed, said = here(*words, "--json")
        assert status == 0, said
        return json.loads(printed)

    limit = ["--scope", "compute.read", "--scope", "plan.read", "--organisation", "city", "--days", "30"]
    assert told("token", "create", "gauge", *limit)["token"].startswith("hw_api_")
    listed = next(one for one in told("token", "list") if one["label"] == "gauge")
    assert (listed["scopes"], listed["organisation"]) == (["compute.read", "plan.read"], "city")
    assert here("token", "create", "x", "--scope", "no.such")[0] == 2
    told("person", "add", "li.wei")
    monkeypatch.setattr(sys, "stdin", io.StringIO("paper lantern over the river\n"))
    assert told("person", "password", "li.wei") == {"person": "li.wei", "password": "set"}
    monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
    status, _, said = here("person", "password", "li.wei")
    assert (status, said.startswith("bad_input: The password has 5 characters.")) == (2, True)
    assert told("person", "password", "li.wei", "--remove") == {"person": "li.wei", "password": "removed"}
    assert told("person", "sign-out", "li.wei") == {"ended": 0}


def test_tables_are_for_people_and_json_is_alone_on_the_standard_output(here: Here) -> None:
    _, table, _ = here("ledger", "list")
    assert "organisation.added" in table
    assert "┃ kind" in table
    _, document, _ = here("ledger", "list", "--json")
    assert {"seq", "hash"} <= set(json.loads(document)[0])


def test_settings_show_hides_the_password_of_the_database(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "headwater", "settings", "show", "--data", str(tmp_path)]
    environment = os.environ | {"HEADWATER_DATABASE_URL": "postgresql+pg8000://city:swordfish@db/headwater", "COLUMNS": "200"}
    found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert "city:***@db" in found.stdout
    assert "swordfish" not in found.stdout


def test_completion_knows_the_commands() -> None:
    environment = os.environ | {"_HEADWATER_COMPLETE": "complete_bash", "COMP_WORDS": "headwater led", "COMP_CWORD": "1"}
    found = subprocess.run([sys.executable, "-m", "headwater"], capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert found.stdout.split() == ["ledger"]


def test_the_version_is_printed() -> None:
    from headwater import __version__

    assert headwater("--version").stdout.strip() == __version__
