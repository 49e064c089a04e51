"""What a job may use, and which limit it has passed. Pure; standard library only: a runner imports it."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes long to import, and a runner has no use for it
if TYPE_CHECKING:
    from typing import Any

GIB = float(1 << 30)


class Limits:
    """What the job may use: seconds of wall and CPU time, bytes of memory. Infinity is no limit."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.wall_s = float(told.get("wall_s") or "inf")
        self.cpu_s = float(told.get("cpu_s") or "inf")
        self.memory_bytes = float(told.get("memory_gib") or "inf") * GIB

    def passed(self, wall_s: float, cpu_s: float, held_bytes: int) -> tuple[str, str] | None:
        """Return the reason and a sentence for the limit that was passed, if any was."""
        if held_bytes > self.memory_bytes:
            return "out_of_memory", _over(f"{held_bytes / GIB:.2f} GiB of memory", f"{self.memory_bytes / GIB:.2f} GiB", "memory_gib")
        if cpu_s > self.cpu_s:
            return "out_of_cpu_time", _over(f"{cpu_s:.1f} s of CPU time", f"{self.cpu_s:g} s", "cpu_s")
        if wall_s > self.wall_s:
            return "out_of_time", _over(f"{wall_s:.1f} s", f"{self.wall_s:g} s", "wall_s")
        return None


def _over(used: str, limit: str, name: str) -> str:
    return f"The job used {used} and may use {limit}. Ask for more under resources: {name}, or make the work smaller."
