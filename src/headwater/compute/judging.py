"""What the dispatcher decides with: the policy as it is now, the quotas, and what earlier runs teach."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from headwater.compute import deciding, jobs, pool, prediction, quotas, usage
from headwater.compute.deciding import Decision, Heard
from headwater.compute.floor import Floor
from headwater.compute.jobs import ON_ENGINE, Job
from headwater.compute.live import Live
from headwater.compute.policy_file import PolicyFile
from headwater.compute.presence import described
from headwater.compute.quotas import Quota
from headwater.compute.scheduler.policy import Policy
from headwater.compute.scheduler.prediction import History, RunTime, history_of
from headwater.compute.settlement import budgets
from headwater.compute.situation import INSIDE, Facts, Sums
from headwater.compute.work import Capacity
from headwater.core.settings import Settings

STRICT_WINDOW, WINDOW = 16, 256
"""How many queued jobs a turn looks at: of each engine's oldest under a policy that nobody overtakes, as only the first can start."""
LEARN_AGAIN_S = 10.0
SPENT_AGAIN_S = 0.2


class Judge:
    """Decides turn by turn, and tells what it would expect."""

    def __init__(self, settings: Settings, *, heard: Heard = deciding.unheard) -> None:
        """Read the policy. Raises NotFound or BadPolicy where it cannot be read."""
        self._settings = settings
        self.file = PolicyFile(settings.policy)
        self._heard = heard
        self._history = History()
        self._quotas: tuple[Quota, ...] = ()
        self._strict_window = STRICT_WINDOW
        self._spent: dict[str, str] = {}
        self._spent_s = -SPENT_AGAIN_S
        self._recent: tuple[Job, ...] = ()
        self._learned_s = self._looked_s = -LEARN_AGAIN_S

    @property
    def policy(self) -> Policy:
        """The policy that decides now."""
        return self.file.current()

    def window(self, connection: Connection, live: Live, *, now: datetime) -> tuple[Job, ...]:
        """Return the queued jobs to decide about now.

        Where more wait than are looked at, organisations that cannot start anything by their quotas or budgets are left out for now.
        """
        if live.quotas_changed:
            self._quotas, live.quotas_changed = quotas.listed(connection), False
        policy, spent = self.policy, self._spent_now(connection, now)
        if policy.order.by == "fifo" and policy.backfill.kind == "none" and policy.preemption.when == "never":
            return live.oldest(connection, self._strict_window, last=lambda owner: budgets.barred(owner, spent) is not None)
        if live.count <= WINDOW:
            return live.oldest(connection, WINDOW)
        units, used = live.sums.by_organisation(), self.used(connection, now)
        weights = {one.organisation: one.weight for one in self._quotas}
        full = quotas.rooms(self._quotas, units)
        return live.window(
            connection,
            WINDOW,
            aside=lambda owner: full(owner) or budgets.barred(owner, spent) is not None,
            rank=lambda owner: used.get(owner, 0.0) / weights.get(owner, 1.0),
        )

    def _spent_now(self, connection: Connection, now: datetime) -> dict[str, str]:
        """Return whose budget is spent, as it was a moment ago at most."""
        if time.monotonic() > self._spent_s + SPENT_AGAIN_S:
            self._spent, self._spent_s = budgets.spent(connection, now), time.monotonic()
        return self._spent

    def began(self, started: int, *, of: int) -> None:
        """Take in how many of those looked at were started: where all were, more may start next time, so more are looked at."""
        self._strict_window = min(2 * self._strict_window, WINDOW) if 0 < of <= started else STRICT_WINDOW

    def decided_by(
        self,
        connection: Connection,
        queued: Sequence[Job],
        active: Sequence[Job],
        capacity: Mapping[str, Capacity],
        floor: Floor,
        *,
        sums: Sums,
        now: datetime,
    ) -> Facts:
        """Return what the dispatcher decides by: what each of its engines has, and what active jobs hold of it in all."""
        told = self.expected(connection, (*queued, *active)) if self.policy.estimates.source == "history" else {}
        facts = self._facts(connection, queued, active, capacity, told, now, live=True)
        return replace(facts, closed=floor.closed(), residency=described(self._settings.sites_file).residency, sums=sums)

    def decide(self, facts: Facts) -> tuple[Decision, ...]:
        """Return what becomes of each queued job, and which running ones are to stop."""
        return deciding.decisions(facts, self._heard)

    def facts(self, connection: Connection, *, queued: Sequence[Job], now: datetime) -> Facts:
        """Return what is decided by for those who ask why: what runs and what there is as recorded, run times whatever the policy reads."""
        active = jobs.in_states(connection, ON_ENGINE)
        facts = self._facts(connection, queued, active, pool.noted(connection), self.expected(connection, (*queued, *active)), now)
        closed = {name: stand.why for name, stand in pool.stands_noted(connection).items() if not stand.is_open}
        return replace(facts, closed=closed, residency=described(self._settings.sites_file).residency)

    def _facts(
        self,
        connection: Connection,
        queued: Sequence[Job],
        active: Sequence[Job],
        capacity: Mapping[str, Capacity],
        expected: Mapping[str, RunTime],
        now: datetime,
        *,
        live: bool = False,
    ) -> Facts:
        return Facts(
            now=now,
            queued=queued,
            active=active,
            capacity=capacity,
            quotas=self._quotas if live else quotas.listed(connection),
            policy=self.policy,
            expected=expected,
            used=self.used(connection, now),
            spent=self._spent_now(connection, now) if live else budgets.spent(connection, now),
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
