"""The policy that decides: a shipped one by name, or an operator's file that is read again when it changes.

A file that breaks while the platform runs keeps the policy that was read before it, and says so; one that is broken at the start
is refused, because nothing was read before it.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from headwater.compute.scheduler.policy import Policy, load, shipped_names
from headwater.core.errors import HeadwaterError

log = structlog.get_logger("headwater.compute")


class PolicyFile:
    """One setting `policy`, read. `current` looks whether the file has changed."""

    def __init__(self, name_or_path: str) -> None:
        """Read the policy. Raises NotFound, BadPolicy."""
        self._named = name_or_path
        self._seen = self._stamp()
        self._policy = load(name_or_path)
        self.problem = ""
        """What is wrong with the file as it is now; empty where it is what decides."""

    def current(self) -> Policy:
        """Return the policy that decides now."""
        stamp = self._stamp()
        if stamp == self._seen:
            return self._policy
        self._seen = stamp
        try:
            self._policy = load(self._named)
        except (HeadwaterError, OSError, UnicodeDecodeError) as error:
            self.problem = f"{self._named} is not used as it is now: {error}"
            log.error("policy.kept", policy=self._policy.name, problem=self.problem)
        else:
            self.problem = ""
            log.info("policy.read", policy=self._policy.name)
        return self._policy

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._named in shipped_names():
            return None
        try:
            told = Path(self._named).stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino
