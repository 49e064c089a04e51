"""The report of a cleaning run: counts per stage and reason as JSON, and the same as a page that needs no other file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from headwater import __version__
from headwater.data.cleaning.parts import EXAMPLES
from headwater.data.cleaning.recipe import Recipe
from headwater.data.cleaning.results import EXACT, NEAR, Compared
from headwater.data.cleaning.sources import Source

SCHEMA = "headwater.cleaning-report/1"


def made(
    recipe: Recipe, found: Sequence[Source], summaries: Sequence[dict[str, Any]], written: Sequence[dict[str, Any]], compared: Compared
) -> dict[str, Any]:
    """Return the report as JSON values. It says nothing of workers or time: the same input and recipe give the same report."""
    reasons: Counter[str] = Counter()
    encodings: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for one in (*summaries, *written):
        reasons.update(one["reasons"])
        encodings.update(one.get("encodings", {}))
        for code, ids in one["examples"].items():
            examples.setdefault(code, []).extend(ids)
    return {
        "schema": SCHEMA,
        "headwater": __version__,
        "recipe": recipe.told(),
        "recipe_digest": recipe.digest(),
        "sources": [{"name": one.name, "form": one.form, "bytes": one.size} for one in found],
        "encodings": dict(sorted(encodings.items())),
        "read": sum(one["read"] for one in summaries),
        "kept": sum(one["kept"] for one in written),
        "removed": sum(reasons.values()),
        "pairs_compared": compared.compared,
        "funnel": funnel(recipe, summaries, compared),
        "reasons": [{"code": code, "documents": count, "examples": examples[code][:EXAMPLES]} for code, count in sorted(reasons.items())],
    }


def funnel(recipe: Recipe, summaries: Sequence[dict[str, Any]], compared: Compared) -> list[dict[str, Any]]:
    """Return, stage by stage, how many documents came in, how many stayed, and how many were changed."""
    broken = sum(one["broken"] for one in summaries)
    read = sum(one["read"] for one in summaries)
    rows = [{"stage": "read", "in": read, "out": read - broken, "changed": 0}]
    for place, stage in enumerate((*recipe.edits, *recipe.judges)):
        own = [one["stages"][place] for one in summaries]
        rows.append({"stage": stage.name} | {key: sum(one[key] for one in own) for key in ("in", "out", "changed")})
    left = compared.records
    for name, asked, gone in ((EXACT, recipe.exact, compared.exact), (NEAR, recipe.near, compared.near)):
        if asked is not None:
            rows.append({"stage": name, "in": left, "out": left - gone, "changed": 0})
            left -= gone
    return rows


def page(told: dict[str, Any]) -> str:
    """Return the report as an HTML page."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("headwater.data.cleaning", "."), autoescape=True)
    return environment.get_template("report.html").render(report=told)
