"""How kernels are compiled: by numba, once, kept on disk, free of Python's lock while they run.

Import it only from a `*_kernel` module, or inside a function: it brings numba with it. A kernel that is marked here calls none of
another file, because numba's cache does not look at the files of those that a function calls. (The scheduler's kernels, which do,
and which also run interpreted, are kept by the digest of all their sources: `compute/scheduler/compiled.py`.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., object])
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""Division by zero gives infinity, as in NumPy."""
INNER: dict[str, Any] = OPTIONS | {"no_cpython_wrapper": True}
"""A kernel that only kernels call has no entry from Python, which would double the time to compile it."""


def compiled(function: F) -> F:
    """Return a function that others of the same file call."""
    from numba import njit

    return cast(F, njit(**INNER)(function))


def compiled_entry(function: F) -> F:
    """Return a compiled function that Python calls."""
    from numba import njit

    return cast(F, njit(**OPTIONS)(function))
