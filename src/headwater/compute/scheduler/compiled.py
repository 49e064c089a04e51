"""How the scheduler's kernels are compiled: once, kept on disk, free of Python's lock while they run.

Import it only from a `*_kernel` module: it brings numba with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from numba import njit

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Return the function, compiled at its first call. Division by zero gives infinity, as in NumPy."""
    return cast(F, njit(cache=True, nogil=True, error_model="numpy")(function))
