"""The policy that decides: a shipped one by name, or an operator's file that is read again when it changes.

A file that breaks while the platform runs keeps the policy that was read before it, and says so; one that is broken at the start
is refused, because nothing was read before it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from headwater.compute.scheduler.policy import Policy, check_figures, load, shipped_names
from headwater.compute.scheduler.shapes import SiteShape
from headwater.core.errors import BadInput, HeadwaterError

log = structlog.get_logger("headwater.compute")


ENGINE = SiteShape(name="engine", node_units=(1,))
"""What an engine states of itself: no price, no carbon, no links."""


def load_for_live(name_or_path: str) -> Policy:
    """Return a policy that may decide here. Raises NotFound, BadPolicy, or BadInput for one that needs what only a trace knows."""
    policy = load(name_or_path)
    if policy.estimates.source == "exact":
        what = f"The policy '{policy.name}' needs true run times, which only a trace knows."
        raise BadInput(what, "Use user or history as the source of estimates.", where=name_or_path)
    check_figures(policy, (ENGINE,))
    return policy


class PolicyFile:
    """One setting `policy`, read. `current` looks whether the file has changed. Safe for several threads."""

    def __init__(self, name_or_path: str) -> None:
        """Read the policy. Raises NotFound, BadPolicy, BadInput as `load_for_live` does."""
        self._named = name_or_path
        self._guard = threading.Lock()
        self._seen = self._stamp()
        self._policy = load_for_live(name_or_path)
        self.problem = ""
        """What is wrong with the file as it is now; empty where it is what decides."""

    def current(self) -> Policy:
        """Return the policy that decides now."""
        with self._guard:  # who asks while another reads waits for what is read
            stamp = self._stamp()
            if stamp != self._seen:
                self._seen = stamp
                self._read()
            return self._policy

    def _read(self) -> None:
        try:
            self._policy = load_for_live(self._named)
        except (HeadwaterError, OSError, UnicodeDecodeError) as error:
            self.problem = f"{self._named} is not used as it is now: {error}"
            log.error("policy.kept", policy=self._policy.name, problem=self.problem)
        else:
            self.problem = ""
            log.info("policy.read", policy=self._policy.name)

    def _stamp(self) -> tuple[int, int, int] | None:
        if self._named in shipped_names():
            return None
        try:
            told = Path(self._named).stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_size, told.st_ino
