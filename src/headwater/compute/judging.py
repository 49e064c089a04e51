"""What the dispatcher decides with: the policy as it is now, the quotas, and what earlier runs teach."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
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
from headwater.compute.scheduler.why import NO_CODES
from headwater.compute.settlement import budgets
from headwater.compute.situation import INSIDE, Facts
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
        self._decides = self.policy
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
        """Return the queued jobs to decide about now, and learn what is decided by.

        Where more wait than are looked at, organisations that cannot start anything by their quotas or budgets are left out for now.
        """
        if live.quotas_changed:
            self._quotas, live.quotas_changed = quotas.listed(connection), False
        policy, spent = self.policy, self._spent_now(connection, now)
        self._decides = policy  # the decision is by what was learned for it, even where its file changes in between
        self._learn_use(connection, policy, now)
        if policy.estimates.source == "history":
            self._learn_run_times(connection)
        if policy.order.by == "fifo" and policy.backfill.kind == "none" and policy.preemption.when == "never":
            return live.oldest(connection, self._strict_window, last=lambda owner: budgets.barred(owner, spent) is not None)
        if live.count <= WINDOW:
            return live.oldest(connection, WINDOW)
        units, used = live.sums.by_organisation(), self._used(policy, now)
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

    def decided_by(self, queued: Sequence[Job], live: Live, capacity: Mapping[str, Capacity], floor: Floor, *, now: datetime) -> Facts:
        """Return what the dispatcher decides by: what each of its engines has, what active jobs hold, and what `window` has learned."""
        active, policy = tuple(live.active.values()), self._decides
        return Facts(
            now=now,
            queued=queued,
            active=active,
            capacity=capacity,
            quotas=self._quotas,
            policy=policy,
            expected=self._predicted((*queued, *active)) if policy.estimates.source == "history" else {},
            used=self._used(policy, now),
            closed=floor.closed(),
            residency=described(self._settings.sites_file).residency,
            spent=self._spent,
            sums=live.sums,
            wordless=deciding.ROUTINE if live.count > WINDOW else NO_CODES,
        )

    def decide(self, facts: Facts) -> tuple[Decision, ...]:
        """Return what becomes of each queued job, and which running ones are to stop."""
        return deciding.decisions(facts, self._heard)

    def facts(self, connection: Connection, *, queued: Sequence[Job], now: datetime) -> Facts:
        """Return what is decided by for those who ask why: what runs and what there is as recorded, run times whatever the policy reads."""
        active, policy = jobs.in_states(connection, ON_ENGINE), self.policy
        self._learn_use(connection, policy, now)
        return Facts(
            now=now,
            queued=queued,
            active=active,
            capacity=pool.noted(connection),
            quotas=quotas.listed(connection),
            policy=policy,
            expected=self.expected(connection, (*queued, *active)),
            used=self._used(policy, now),
            closed={name: stand.why for name, stand in pool.stands_noted(connection).items() if not stand.is_open},
            residency=described(self._settings.sites_file).residency,
            spent=budgets.spent(connection, now),
        )

    def expected(self, connection: Connection, asked: Sequence[Job]) -> dict[str, RunTime]:
        """Return the run times to expect of some jobs, by job."""
        self._learn_run_times(connection)
        return self._predicted(asked)

    def _learn_use(self, connection: Connection, policy: Policy, now: datetime) -> None:
        """Look at what was used of late where a policy shares by it; that holds for ten seconds."""
        if policy.order.by == "fair_share" and time.monotonic() > self._looked_s + LEARN_AGAIN_S:
            half_life_s = policy.fair_share.half_life_s
            self._recent, self._looked_s = usage.recent(connection, now=now, half_life_s=half_life_s), time.monotonic()

    def _used(self, policy: Policy, now: datetime) -> dict[str, float]:
        """Return what organisations have used of late, where a policy shares by it."""
        if policy.order.by != "fair_share":
            return {}
        return usage.decayed(self._recent, now=now, half_life_s=policy.fair_share.half_life_s, outside=INSIDE)

    def _learn_run_times(self, connection: Connection) -> None:
        """Look at how long earlier jobs ran; that holds for ten seconds."""
        if time.monotonic() > self._learned_s + LEARN_AGAIN_S:
            self._history, self._learned_s = history_of(prediction.past(connection)), time.monotonic()

    def _predicted(self, asked: Sequence[Job]) -> dict[str, RunTime]:
        history = self._history
        found = {job.id: prediction.predicted(history, job) for job in asked}
        return {job: one for job, one in found.items() if one is not None}
