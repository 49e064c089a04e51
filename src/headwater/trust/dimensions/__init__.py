"""Every measure, one file each: `dimensions/<dimension>/<figure>.py` holds one `Measure`.

A new measure is one new file; it is found here by its place, reported at once, and graded when a policy names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from headwater.trust.examination import Measure


@cache
def measures() -> dict[str, Measure]:
    """Return the measures by name, in order of dimension and file name."""
    found: dict[str, Measure] = {}
    for module in sorted(pkgutil.walk_packages(__path__, f"{__name__}."), key=lambda one: one.name):
        if not module.ispkg:
            held = vars(importlib.import_module(module.name)).values()
            found |= {one.name: one for one in held if isinstance(one, Measure)}
    return found
