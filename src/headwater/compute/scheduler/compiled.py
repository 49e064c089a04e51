"""How the scheduler's kernels run, from one source: compiled by numba, or interpreted as they stand.

Compiled is what a long replay needs. The first use on a machine compiles for about a minute, a later one loads for a second, and
the compiler holds some 130 MiB. Interpreted is what a server with a few hundred jobs needs: no numba is imported, and a decision
takes milliseconds. Both do the same arithmetic; a test holds them to the same decisions.

    with interpreted():
        plan = decide(...)

Compiled kernels are kept in a folder named after the digest of their sources, so a change in any of them compiles anew.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, TypeVar, cast

import numpy as np

from headwater.core.kernels import INNER, OPTIONS

F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T")
SOURCES = ("scheduler/state.py", "scheduler/*_kernel.py", "twin/*_kernel.py")
"""What decides compiled code: the kernels, and the tables and constants that they share."""

_inner: dict[object, bool] = {}
"""Kernels that only kernels call, and whether each makes arrays."""
_interpreting: ContextVar[bool] = ContextVar("interpreting", default=False)


class Columns:
    """A table whose columns are at hand: finding one is a look-up, where a record array makes a view each time."""

    def __init__(self, rows: Any) -> None:
        self._rows, plain = rows, np.asarray(rows)
        vars(self).update({name: plain[name] for name in plain.dtype.names or ()})

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, row: Any) -> Any:
        return self._rows[row]


class Entry:
    """A kernel that Python calls: compiled, or within `interpreted()` as it is written."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.__doc__ = function.__doc__

    def __call__(self, *arguments: Any) -> Any:
        if not _interpreting.get():
            return jitted(self.function)(*arguments)
        with np.errstate(all="ignore"):
            return self.function(*map(at_hand, arguments))


def compiled(function: F) -> F:
    """Mark a function that other kernels call. Division by zero gives infinity, as in NumPy.

    It neither makes an array nor is given one by a function that it calls: then nobody need count who holds the tables. That count,
    of every table of the state at every call, took nine tenths of a replay's time.
    """
    _inner[function] = False
    return function


def compiled_allocating(function: F) -> F:
    """Mark the same where the function makes arrays, or is given new ones by those it calls."""
    _inner[function] = True
    return function


def compiled_entry(function: F) -> F:
    """Return a kernel that Python calls."""
    return cast(F, Entry(function))


@contextmanager
def interpreted() -> Iterator[None]:
    """Run kernels as they are written, without the compiler, in this context."""
    before = _interpreting.set(True)
    try:
        yield
    finally:
        _interpreting.reset(before)


@cache
def jitted(function: Any) -> Any:
    """Return a kernel made ready to compile: the same code, with compiled kernels for those it calls."""
    import numba
    from numba.core import config

    config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined] # numba sets its options by name
    called = {name: function.__globals__.get(name) for name in function.__code__.co_names}
    kernels = {name: jitted(_bare(one)) for name, one in called.items() if _is_kernel(one) and _bare(one) is not function}
    copy = FunctionType(function.__code__, function.__globals__ | kernels, function.__name__, function.__defaults__, function.__closure__)
    if function not in _inner:
        return numba.njit(**OPTIONS)(copy)
    return _for_all_constants(numba.njit(**(INNER | {"_nrt": _inner[function]}))(copy))


def _for_all_constants(dispatcher: Any) -> Any:
    """Keep a kernel from being compiled anew for each constant that it is called with, as numba does where a variable begins at -1."""
    from numba import types

    find = dispatcher.get_call_template
    plain: Callable[[Any], Any] = types.unliteral

    def find_one(args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        return find([plain(arg) for arg in args], {name: plain(arg) for name, arg in kws.items()})

    dispatcher.get_call_template = find_one
    return dispatcher


@cache
def cache_folder() -> Path:
    """Return the folder for these sources' compiled kernels: beside them, or in the user's cache, or among temporary files."""
    total = hashlib.sha256()
    for pattern in SOURCES:
        for source in sorted(Path(__file__).parents[1].glob(pattern)):
            total.update(source.read_bytes())
    own, users = Path(__file__).parent / "__pycache__", Path.home() / ".cache" / "headwater"
    places = (own, users, Path(tempfile.gettempdir()) / f"headwater-{os.getuid()}")
    name = f"kernels-{total.hexdigest()[:16]}"
    return next(folder for place in places if (folder := place / name) and _writable(folder))


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid()


def _is_kernel(value: object) -> bool:
    return isinstance(value, Entry) or (isinstance(value, FunctionType) and value in _inner)


def _bare(value: Any) -> Any:
    return value.function if isinstance(value, Entry) else value


def at_hand(argument: T) -> T:
    """Return tables, and tuples of tables, with their columns at hand; what already is so comes back as it is."""
    if isinstance(argument, np.recarray):
        return cast(T, Columns(argument))
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return cast(T, cast(Any, type(argument))(*map(at_hand, argument)))
    return argument
