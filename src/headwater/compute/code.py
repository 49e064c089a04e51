"""The code version of a step: a digest over what decides its result besides its inputs and parameters."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from headwater.core import canonical
from headwater.core.steps import Step


def code_version(step: Step) -> str:
    """Return the digest of the step's package, of Headwater's core, and of the libraries that the step names."""
    module = step.run.__module__.split(".")
    package = ".".join(module[:2]) if module[0] == "headwater" else module[0]
    sources = {name: _sources(name) for name in sorted({package, "headwater.core"})}
    return canonical.digest({"sources": sources, "libraries": {name: _version(name) for name in step.libraries}})


@cache
def _sources(package: str) -> str:
    """Return a digest over every source and data file of a package."""
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    total = hashlib.sha256()
    for root in map(Path, places):
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                total.update(path.relative_to(root).as_posix().encode() + b"\0")
                total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


@cache
def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"
