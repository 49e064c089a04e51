"""How the cleaning kernels are compiled: once, kept on disk, free of Python's lock while they run.

Import it only from a `*_kernel` module: it brings numba with it. No kernel calls one of another file, because numba's cache
does not look at the files of those that a function calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def compiled(function: F) -> F:
    """Return a function that others of the same file call. Division by zero gives infinity, as in NumPy."""
    return cast(F, njit(**(OPTIONS | {"no_cpython_wrapper": True}))(function))


def compiled_entry(function: F) -> F:
    """Return a compiled function that Python calls."""
    return cast(F, njit(**OPTIONS)(function))
