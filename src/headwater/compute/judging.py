"""What the dispatcher decides with: the policy as it is now, the quotas, and what earlier runs teach."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection

from headwater.compute import deciding, jobs, pool, prediction, quotas, usage
from headwater.compute.deciding import Decision, Heard
from headwater.compute.jobs import ON_ENGINE, Job, State
from headwater.compute.policy_file import PolicyFile
from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.prediction import History, RunTime, history_of
from headwater.compute.settlement import budgets
from headwater.compute.situation import INSIDE, Facts
from headwater.compute.work import Capacity
from headwater.core.settings import Settings

STRICT_WINDOW, WINDOW = 16, 256
"""How many of the oldest queued jobs are looked at in a turn: a policy that nobody overtakes needs few, as only the first can start."""
LEARN_AGAIN_S = 10.0


class Judge:
    """Decides turn by turn, and tells what it would expect."""

    def __init__(self, settings: Settings, *, heard: Heard = deciding.unheard) -> None:
        """Read the policy. Raises NotFound or BadPolicy where it cannot be read."""
        self.file = PolicyFile(settings.policy)
        self._heard = heard
        self._history = History()
        self._recent: tuple[Job, ...] = ()
        self._learned_s = self._looked_s = -LEARN_AGAIN_S

    @property
    def policy(self) -> Policy:
        """The policy that decides now."""
        return self.file.current()

    @property
    def window(self) -> int:
        """How many queued jobs to show `decide`."""
        policy = self.policy
        strict = policy.order.by == "fifo" and policy.backfill.kind == "none" and policy.preemption.when == "never"
        return STRICT_WINDOW if strict else WINDOW

    def queue(self, connection: Connection, now: datetime) -> tuple[Job, ...]:
        """Return the queued jobs to decide on in a turn; those whose budget is spent come last and keep nobody from being seen."""
        return jobs.in_states(connection, {State.QUEUED}, limit=self.window, last=budgets.spent(connection, now))

    def decide(
        self, connection: Connection, *, queued: Sequence[Job], active: Sequence[Job], capacity: Mapping[str, Capacity], now: datetime
    ) -> tuple[Decision, ...]:
        """Return what becomes of each queued job, and which running ones are to stop."""
        told = self.expected(connection, (*queued, *active)) if self.policy.estimates.source == "history" else {}
        return deciding.decisions(self._facts(connection, queued, active, capacity, told, now), self._heard)

    def facts(self, connection: Connection, *, queued: Sequence[Job], now: datetime) -> Facts:
        """Return what is decided by for those who ask why: what runs and what there is as recorded, run times whatever the policy reads."""
        active = jobs.in_states(connection, ON_ENGINE)
        return self._facts(connection, queued, active, pool.noted(connection), self.expected(connection, (*queued, *active)), now)

    def _facts(
        self,
        connection: Connection,
        queued: Sequence[Job],
        active: Sequence[Job],
        capacity: Mapping[str, Capacity],
        expected: Mapping[str, RunTime],
        now: datetime,
    ) -> Facts:
        return Facts(
            now=now,
            queued=queued,
            active=active,
            capacity=capacity,
            quotas=quotas.listed(connection),
            policy=self.policy,
            expected=expected,
            used=self.used(connection, now),
            spent=budgets.spent(connection, now),
        )

    def used(self, connection: Connection, now: datetime) -> dict[str, float]:
        """Return what organisations have used of late, where the policy shares by it."""
        policy = self.policy
        if policy.order.by != "fair_share":
            return {}
        half_life_s = policy.fair_share.half_life_s
        if time.monotonic() > self._looked_s + LEARN_AGAIN_S:
            self._recent, self._looked_s = usage.recent(connection, now=now, half_life_s=half_life_s), time.monotonic()
        return usage.decayed(self._recent, now=now, half_life_s=half_life_s, outside=INSIDE)

    def expected(self, connection: Connection, asked: Sequence[Job]) -> dict[str, RunTime]:
        """Return the run times to expect of some jobs, by job; what was learned lasts ten seconds."""
        if time.monotonic() > self._learned_s + LEARN_AGAIN_S:
            self._history, self._learned_s = history_of(prediction.past(connection)), time.monotonic()
        history = self._history
        found = {job.id: prediction.predicted(history, job) for job in asked}
        return {job: one for job, one in found.items() if one is not None}
