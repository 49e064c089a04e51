"""How the scheduler's kernels are compiled: once, kept on disk, free of Python's lock while they run.

Import it only from a `*_kernel` module: it brings numba with it. The first use on a machine compiles for about a minute.
Numba keeps a compiled function as long as its own file is unchanged and does not look at the files of those it calls: after
editing one kernel, delete `__pycache__/*.nb?` of this folder and of the twin's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from numba import njit, types

F = TypeVar("F", bound=Callable[..., object])
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def compiled(function: F) -> F:
    """Return a function that other compiled ones call. Division by zero gives infinity, as in NumPy.

    It neither makes an array nor is given one by a function that it calls: then nobody need count who holds the tables. That count,
    of every table of the state at every call, took nine tenths of a replay's time.
    """
    return _one_for_all_values(function, counting=False)


def compiled_allocating(function: F) -> F:
    """Return the same for a function that makes arrays, or is given new ones by those it calls."""
    return _one_for_all_values(function, counting=True)


def _one_for_all_values(function: F, *, counting: bool) -> F:
    """Compile without an entry from Python, which would double the time it takes.

    Nor is it compiled anew for each constant that it is called with, as numba does where a variable begins at -1: that doubles
    it again.
    """
    dispatcher = njit(**(OPTIONS | {"no_cpython_wrapper": True, "_nrt": counting}))(function)
    find = dispatcher.get_call_template

    def find_one_for_all_values(args: Sequence[Any], kws: Mapping[str, Any]) -> Any:
        plain: Callable[[Any], Any] = types.unliteral
        return find([plain(arg) for arg in args], {name: plain(arg) for name, arg in kws.items()})

    dispatcher.get_call_template = find_one_for_all_values
    return cast(F, dispatcher)


def compiled_entry(function: F) -> F:
    """Return a compiled function that Python calls."""
    return cast(F, njit(**OPTIONS)(function))
