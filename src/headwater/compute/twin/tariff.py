"""A price of electricity by the time of day, and what a draw of power from one moment to another costs under it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.compute.scheduler.state import Floats

DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tariff:
    """Bands that cover a local day once: `from_s[i]` to the next, at `fen_per_kwh[i]`."""

    from_s: tuple[float, ...]
    fen_per_kwh: tuple[float, ...]
    midnight_s: float = 0.0
    """Where on the trace's clock a local midnight lies."""

    @property
    def mean_fen_per_kwh(self) -> float:
        """The price of a steady draw over whole days."""
        return float(self._sums[-1]) / DAY_S

    @property
    def least_fen_per_kwh(self) -> float:
        return min(self.fen_per_kwh)

    @property
    def _edges(self) -> Floats:
        return np.array([*self.from_s, DAY_S])

    @property
    def _sums(self) -> Floats:
        """Fen per kWh times seconds, from midnight to each edge."""
        return np.concatenate([[0.0], np.cumsum(np.diff(self._edges) * np.array(self.fen_per_kwh))])

    def fen_per_kw(self, from_s: Floats, to_s: Floats) -> Floats:
        """Return what each draw of one kW from a moment of the trace to another costs, in fen."""
        return (self._until(to_s) - self._until(from_s)) / 3600.0

    def _until(self, at_s: Floats) -> Floats:
        days, rest = np.divmod(np.asarray(at_s) - self.midnight_s, DAY_S)
        return np.asarray(days * self._sums[-1] + np.interp(rest, self._edges, self._sums))
