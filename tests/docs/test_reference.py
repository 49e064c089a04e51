"""The documentation says what the code does: reference pages, links, and what must never stand in the repository."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.docs import reference

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


@pytest.mark.parametrize(
    "name", ["settings.md", "errors.md", "steps.md", "commands.md", "routes.md", "project-file.md", "project.schema.json"]
)
def test_each_reference_page_is_what_the_code_says_now(pages: dict[str, str], name: str) -> None:
    written = (reference.FOLDER / name).read_text(encoding="utf-8")
    assert written == pages[name], "run: python3 dev.py docs"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.split("\n") if name and (ROOT / name).is_file()]


def test_every_link_between_pages_leads_somewhere() -> None:
    broken = []
    for page in [path for path in tracked() if path.suffix == ".md"]:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not target.startswith("mailto:") and not (page.parent / target).exists():
                broken.append(f"{page.relative_to(ROOT)}: {target}")
    assert broken == []


def test_no_private_key_and_no_large_file_is_kept_here() -> None:
    marker = "BEGIN " + "PRIVATE KEY"
    for path in tracked():
        assert path.stat().st_size < 2 << 20, path
        if path.suffix in (".py", ".md", ".yaml", ".toml", ".json", ".txt"):
            assert marker not in path.read_text(encoding="utf-8"), path


def test_every_required_library_has_its_reason_and_licence_written_down() -> None:
    told = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    for file in ("runtime.in", "torch.txt", "dev.in"):
        for line in (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines():
            name = re.split(r"[=<>\s#]", line)[0]
            if name and not name.startswith("-"):
                assert f"`{name}`" in told, name
