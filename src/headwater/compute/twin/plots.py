"""Plots as SVG text: lines over time and bars, with a legend that does not rest on colour alone."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 300, 60, 40, 34
COLOURS = ("#1b6ca8", "#c4501b", "#2e7d32", "#7b3fa0", "#8a6d00", "#b0003a", "#00695c", "#37474f")
DASHES = ("", "6 3", "2 2", "8 3 2 3")

Line = tuple[str, Sequence[float], Sequence[float]]


def _frame(title: str, inside: str, height: int = HEIGHT) -> str:
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'xmlns="http://www.w3.org/2000/svg" font-family="system-ui, sans-serif" font-size="12">'
        f'<text x="{LEFT}" y="18" font-size="15" font-weight="600">{escape(title)}</text>{inside}</svg>'
    )


def lines(series: Sequence[Line], *, title: str, across: str) -> str:
    """Return lines of shares between 0 and 1 over a common axis."""
    if not any(len(x) for _, x, _ in series):
        return _frame(title, f'<text x="{LEFT}" y="60">Nothing ran.</text>')
    most = max(max(x) for _, x, _ in series if len(x))
    least = min(min(x) for _, x, _ in series if len(x))
    span = (most - least) or 1.0
    height = HEIGHT + 18 * len(series)
    wide, high = WIDTH - LEFT - 20, HEIGHT - TOP - BOTTOM
    drawn = []
    for tick in range(5):
        y = TOP + high * (1 - tick / 4)
        drawn.append(f'<line x1="{LEFT}" x2="{WIDTH - 20}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e2e6ec"/>')
        drawn.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick * 25} %</text>')
        drawn.append(
            f'<text x="{LEFT + wide * tick / 4:.1f}" y="{TOP + high + 16}" text-anchor="middle">{least + span * tick / 4:.4g}</text>'
        )
    drawn.append(f'<text x="{WIDTH - 20}" y="{TOP + high + 32}" text-anchor="end">{escape(across)}</text>')
    for index, (name, x, y_values) in enumerate(series):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index // len(COLOURS) % len(DASHES)]
        at = " ".join(f"{LEFT + wide * (a - least) / span:.1f},{TOP + high * (1 - b):.1f}" for a, b in zip(x, y_values, strict=True))
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" stroke-dasharray="{dash}" points="{at}"/>')
        y = HEIGHT + 18 * index + 6
        drawn.append(f'<line x1="{LEFT}" x2="{LEFT + 28}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3" stroke-dasharray="{dash}"/>')
        drawn.append(f'<text x="{LEFT + 36}" y="{y + 4}">{escape(name)}</text>')
    return _frame(title, "".join(drawn), height)


def bars(values: Sequence[tuple[str, float]], *, title: str, mark: float | None = None, mark_name: str = "") -> str:
    """Return horizontal bars, with a mark across all of them."""
    if not values:
        return _frame(title, f'<text x="{LEFT}" y="60">Nothing ended.</text>', 90)
    most = max([value for _, value in values] + ([mark] if mark is not None else [])) or 1.0
    start, wide, height = 220, WIDTH - 220 - 110, TOP + 26 * len(values) + 30
    drawn = []
    for index, (name, value) in enumerate(values):
        y = TOP + 26 * index
        drawn.append(f'<text x="{start - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>')
        drawn.append(f'<rect x="{start}" y="{y}" width="{wide * value / most:.1f}" height="18" fill="{COLOURS[0]}"/>')
        drawn.append(f'<text x="{start + wide * value / most + 6:.1f}" y="{y + 14}">{value:,.4g}</text>')
    if mark is not None:
        x = start + wide * mark / most
        drawn.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{height - 24}" stroke="{COLOURS[1]}" stroke-dasharray="4 3"/>')
        drawn.append(f'<text x="{x:.1f}" y="{height - 8}" text-anchor="middle">{escape(mark_name)} {mark:,.4g}</text>')
    return _frame(title, "".join(drawn), height)
