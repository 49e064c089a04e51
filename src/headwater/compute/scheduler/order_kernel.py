"""The value by which a job is ordered, lowest first (compiled).

The learned index needs no durations: it is the Gittins index (Gittins 1979; in scheduling, Aalto et al. 2009)
per unit, over the chance of ending in each band of attained time. The chance comes from jobs of the same kind that
already ran or are running, most of all those submitted next to this one, shrunk towards the whole kind.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled, compiled_allocating
from headwater.compute.scheduler.state import COMING, FINISHED, NOW_S, RUNNING, Floats, Rules, State, Table

FIFO, SHORTEST, AREA, DEADLINE, PRIORITY, ATTAINED, REMAINING, LEARNED, FAIR = range(9)
KIND_PRIOR = 8.0
EDGE_SLACK_S = 1e-4
LEAST_WORK_S = 600.0


@compiled_allocating
def hazard(state: State, rules: Rules, job: int, ended: Floats, entered: Floats) -> None:
    """Fill, per band, the weighted counts of like jobs that ended in it and that entered it."""
    jobs, bands = state.jobs, state.bands
    kind = jobs.kind[job]
    for band in range(len(ended)):
        everyone = (bands.ended[band] + 0.1) / (bands.entered[band] + 1.0)
        alike = (state.kind_ended[kind, band] + KIND_PRIOR * everyone) / (state.kind_entered[kind, band] + KIND_PRIOR)
        ended[band], entered[band] = alike * rules.prior, rules.prior
    for side in range(2):
        other, weight = job, 1.0
        for _ in range(rules.siblings):
            other = jobs.earlier[other] if side == 0 else jobs.later[other]
            if other < 0 or jobs.state[other] == COMING:
                break
            weight *= rules.sibling_decay
            share = weight * np.exp(-abs(jobs.submit_s[other] - jobs.submit_s[job]) / rules.sibling_window_s)
            entered[: jobs.band[other]] += share
            if jobs.state[other] == FINISHED:
                entered[jobs.band[other]] += share
                ended[jobs.band[other]] += share


@compiled
def gittins(bands: Table, attained_s: float, band: int, ended: Floats, entered: Floats) -> float:
    """The best ratio, over all spans of further service, of the chance to end to the expected time spent."""
    best, alive, spent, chance = 0.0, 1.0, 0.0, 0.0
    for step in range(band, len(ended)):
        width = bands.edge_s[step + 1] - max(bands.edge_s[step], attained_s)
        ends = ended[step] / entered[step]
        spent += alive * max(width, EDGE_SLACK_S) * (1.0 - ends / 2.0)
        chance += alive * ends
        alive *= 1.0 - ends
        best = max(best, chance / spent)
    return best


@compiled_allocating
def learned_index(state: State, rules: Rules, job: int) -> float:
    """The job's index, computed anew only where evidence about it changed."""
    jobs, count = state.jobs, len(state.bands) - 1
    if jobs.stale[job] == 1:
        ended, entered = np.empty(count), np.empty(count)
        hazard(state, rules, job, ended, entered)
        jobs.index[job] = gittins(state.bands, jobs.attained_s[job], jobs.band[job], ended, entered)
    return float(jobs.index[job])


@compiled
def learn(state: State, rules: Rules, job: int) -> None:
    """Book the bands that a job has passed since the last look, and its end; neighbours' indexes go stale."""
    jobs, bands = state.jobs, state.bands
    kind = jobs.kind[job]
    while jobs.attained_s[job] + EDGE_SLACK_S >= bands.edge_s[jobs.band[job] + 1]:
        state.kind_entered[kind, jobs.band[job]] += 1
        bands.entered[jobs.band[job]] += 1
        jobs.band[job] += 1
        jobs.stale[job] = 1
    if jobs.state[job] != FINISHED:
        return
    band = jobs.band[job]
    state.kind_ended[kind, band] += 1
    state.kind_entered[kind, band] += 1
    bands.ended[band] += 1
    bands.entered[band] += 1
    for side in range(2):
        other = job
        for _ in range(rules.siblings):
            other = jobs.earlier[other] if side == 0 else jobs.later[other]
            if other < 0:
                break
            jobs.stale[other] = 1


@compiled
def level_of(rules: Rules, service: float) -> int:
    """How many of the policy's levels the attained service has passed."""
    level = 0
    while level < len(rules.levels) and service >= rules.levels[level]:
        level += 1
    return level


@compiled
def remaining_s(jobs: Table, job: int) -> float:
    """Expected seconds left. An estimate that was outlived is doubled until it is not."""
    estimate = jobs.estimate_s[job]
    if np.isnan(estimate):
        return np.inf
    while estimate < jobs.attained_s[job]:
        estimate = max(2.0 * estimate, 1.0)
    return float(estimate - jobs.attained_s[job] + jobs.overhead_s[job])


@compiled
def overdue(state: State, rules: Rules, job: int) -> bool:
    """Whether the job has waited so long for its work that it goes before all others."""
    jobs = state.jobs
    limit = rules.most_slowdown / 2.0 if jobs.state[job] == RUNNING else rules.most_slowdown
    return bool(state.marks[NOW_S] - jobs.submit_s[job] > limit * max(jobs.attained_s[job], LEAST_WORK_S))


@compiled
def value(state: State, rules: Rules, job: int) -> float:
    """What the job is ordered by; its work must be settled. Unknown estimates go last."""
    jobs = state.jobs
    gain = rules.hysteresis if jobs.state[job] == RUNNING else 1.0
    estimate = np.inf if np.isnan(jobs.estimate_s[job]) else jobs.estimate_s[job]
    if rules.most_slowdown > 0 and overdue(state, rules, job):
        return -np.inf
    if rules.order == SHORTEST:
        return float(estimate)
    if rules.order == AREA:
        return float(estimate * jobs.units[job])
    if rules.order == DEADLINE:
        return float(jobs.deadline_s[job])
    if rules.order == PRIORITY:
        return float(-jobs.priority[job])
    if rules.order == ATTAINED:
        return float(level_of(rules, jobs.attained_s[job] * jobs.units[job] ** rules.exponent + 1e-6) - (0.5 if gain > 1.0 else 0.0))
    if rules.order == REMAINING:
        return float(remaining_s(jobs, job) * jobs.units[job] ** rules.exponent / gain)
    if rules.order == LEARNED:
        return float(-learned_index(state, rules, job) * gain / jobs.units[job] ** rules.exponent)
    return float(jobs.submit_s[job])


@compiled
def next_change_s(state: State, rules: Rules, job: int, now_s: float) -> float:
    """When a running job's value will next jump, infinity where it does not."""
    jobs, rate = state.jobs, state.jobs.rate[job]
    if rules.order == LEARNED:
        goal = state.bands.edge_s[jobs.band[job] + 1]
    elif rules.order == ATTAINED:
        weight = jobs.units[job] ** rules.exponent
        level = level_of(rules, jobs.attained_s[job] * weight + 1e-6)
        goal = rules.levels[level] / weight if level < len(rules.levels) else np.inf
    else:
        return np.inf
    return float(now_s + jobs.overhead_s[job] + max((goal - jobs.attained_s[job]) / rate, 1e-3))


@compiled
def before(jobs: Table, one: int, other: int) -> bool:
    """Whether `one` goes first: lower value, then earlier in the table."""
    return bool(jobs.key[one] < jobs.key[other] or (jobs.key[one] == jobs.key[other] and one < other))


@compiled
def enqueue(state: State, job: int) -> None:
    """Insert a job in its lane by its key."""
    jobs, lanes = state.jobs, state.lanes
    lane = jobs.lane[job]
    if lanes.end[lane] == lanes.limit[lane]:
        shift = lanes.begin[lane] - lanes.first[lane]
        for cell in range(lanes.begin[lane], lanes.end[lane]):
            state.order[cell - shift] = state.order[cell]
        lanes.begin[lane] -= shift
        lanes.end[lane] -= shift
    low, high = lanes.begin[lane], lanes.end[lane]
    while low < high:
        middle = (low + high) // 2
        if before(jobs, job, state.order[middle]):
            high = middle
        else:
            low = middle + 1
    for cell in range(lanes.end[lane], low, -1):
        state.order[cell] = state.order[cell - 1]
    state.order[low] = job
    lanes.end[lane] += 1


@compiled
def reorder(state: State, lane: int) -> None:
    """Sort a lane whose keys moved a little since the last time."""
    jobs, lanes = state.jobs, state.lanes
    for cell in range(lanes.begin[lane] + 1, lanes.end[lane]):
        job, gap = state.order[cell], cell
        while gap > lanes.begin[lane] and before(jobs, job, state.order[gap - 1]):
            state.order[gap] = state.order[gap - 1]
            gap -= 1
        state.order[gap] = job


@compiled
def drop_taken(state: State, lane: int, keep_running: int) -> None:
    """Close the gaps that finished jobs, and started ones unless they are kept, leave in a lane."""
    jobs, lanes = state.jobs, state.lanes
    cell = lanes.begin[lane]
    for source in range(lanes.begin[lane], lanes.end[lane]):
        job = state.order[source]
        if jobs.state[job] < RUNNING or (jobs.state[job] == RUNNING and keep_running == 1):
            state.order[cell] = job
            cell += 1
    lanes.end[lane] = cell
    if cell == lanes.begin[lane]:
        lanes.begin[lane] = lanes.end[lane] = lanes.first[lane]
