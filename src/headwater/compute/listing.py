"""The newest jobs, as people and programs look at them again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import cast

from fastapi import Request
from sqlalchemy import Connection

from headwater.compute import jobs, views
from headwater.compute.jobs import ENDS, State
from headwater.compute.views import JobView
from headwater.core.platform import Platform
from headwater.core.web import platform_of

KEPT = 2000
"""Views at most; each takes some kilobytes."""


class Listing:
    """Views of jobs for one server's answers. Those of ended jobs do not change any more and are kept. Safe for several threads."""

    def __init__(self, platform: Platform, *, most: int = KEPT) -> None:
        self._platform = platform
        self._most = most
        self._kept: OrderedDict[str, JobView] = OrderedDict()
        self._guard = threading.Lock()

    def newest(self, *, scopes: Iterable[str], limit: int, state: State | None = None) -> list[JobView]:
        """Return the newest jobs within some organisations' scopes."""
        with self._platform.db.read() as connection:
            ids = jobs.newest(connection, scopes=scopes, limit=limit, state=state)
            known = self._known(ids)
            fresh = self._looked_up(connection, [job for job in ids if job not in known])
        return [view for job in ids if (view := known.get(job) or fresh.get(job)) is not None]

    def _known(self, ids: Collection[str]) -> dict[str, JobView]:
        with self._guard:
            known = {job: self._kept[job] for job in ids if job in self._kept}
            for job in known:
                self._kept.move_to_end(job)
        return known

    def _looked_up(self, connection: Connection, ids: Collection[str]) -> dict[str, JobView]:
        found = {job.id: views.view(self._platform, job) for job in (jobs.named(connection, ids) if ids else ())}
        with self._guard:
            self._kept |= {job: view for job, view in found.items() if view.state in ENDS}
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return found


def listing(request: Request) -> Listing:
    """Return the server's own, which is made when it is first asked for."""
    state = request.app.state
    if getattr(state, "jobs_listing", None) is None:
        state.jobs_listing = Listing(platform_of(request))
    return cast("Listing", state.jobs_listing)
