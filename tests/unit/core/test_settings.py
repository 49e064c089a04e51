"""Settings: from the environment, the file, the default; an unknown key is an error."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.core import settings
from headwater.core.errors import BadInput


def test_the_environment_wins_over_the_file_and_the_file_over_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "headwater.toml").write_text("port = 9000\nsession_hours = 2\n", encoding="utf-8")
    monkeypatch.setenv("HEADWATER_PORT", "9100")
    loaded = settings.load(data_folder=tmp_path)
    assert (loaded.port, loaded.session_hours, loaded.host) == (9100, 2.0, "127.0.0.1")


def test_what_the_command_line_gives_wins_over_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PORT", "9100")
    assert settings.load(data_folder=tmp_path, port=7).port == 7


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 9000", "prot"),
        ("port = 99999", "port"),
        ("port = 'x'", "port"),
        ("port = ", "not TOML"),
        ("log_level = 'loud'", "log_level"),
    ],
)
def test_a_wrong_file_is_refused_naming_the_key(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "headwater.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=said):
        settings.load(data_folder=tmp_path)


def test_a_misspelt_variable_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_PROT", "1")
    with pytest.raises(BadInput, match="Unknown setting HEADWATER_PROT"):
        settings.load(data_folder=tmp_path)
