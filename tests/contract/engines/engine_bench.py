"""One engine under the contract, and what a test asks of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from headwater.compute.work import Engine, Observation, Phase, Work
from headwater.core.platform import Platform


@dataclass
class Bench:
    """One engine under the contract."""

    name: str
    platform: Platform
    environment: Mapping[str, str]
    """With which a job finds the contract's steps."""
    open: Callable[[], Engine]
    engine: Engine

    def work(self, key: str, do: str = "copy", *, text: str = "", **params: Any) -> Work:
        """Give an attempt of the contract's step in this engine's place."""
        inputs = {"text": text} if text else {}
        task = {
            "step": f"contract.{'platform' if self.name == 'platform' else 'engine'}",
            "params": {"do": do, **params},
            "inputs": inputs,
            "project": "",
            "job": key,
            "actor": "",
            "organisation": "",
            "seed": 0,
            "settings": {},
        }
        return Work(key=key, task=task, inputs=inputs, environment=self.environment)

    def until(self, key: str, seen: Callable[[Observation], bool]) -> Observation:
        """Give the first observation that fits, as it comes."""
        last_s = time.monotonic() + 60
        while time.monotonic() < last_s:
            observation = self.engine.poll([key])[key]
            if seen(observation):
                return observation
            self.engine.wait(0.05)
        raise AssertionError(f"{key} stayed {observation}")

    def ended(self, key: str) -> Observation:
        """Give what became of an attempt."""
        return self.until(key, lambda observation: observation.phase is not Phase.RUNNING)

    def begun(self, key: str) -> None:
        """Return once the step has begun."""
        self.until(key, lambda _: self.starts(key) > 0)

    def starts(self, key: str) -> int:
        """Give how often the step has begun."""
        told = self.engine.folder(key) / "starts.txt"
        return told.read_text().count("started") if told.exists() else 0

    def let_go(self, key: str) -> None:
        """Let a waiting step end."""
        (self.engine.folder(key) / "go").touch()

    def reopen(self) -> None:
        """Close the engine and open it again, as a restarted server does."""
        self.engine.close()
        self.engine = self.open()
