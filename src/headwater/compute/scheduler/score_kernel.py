"""How much a site is wanted for a job, lowest first: the weighed parts of a placement (compiled).

Every part is a pure number, about 0 to 1, so that weights mean the same on every federation. Prices and carbon are those of the
hours that the job is expected to run in, over the dearest site's; a job without an estimate is taken to run `assume_s`, or an hour.
"""

from __future__ import annotations

import numpy as np

from headwater.compute.scheduler.compiled import compiled
from headwater.compute.scheduler.state import FEN_MOST, KGCO2_MOST, Floats, Rules, State

BEST_FIT, PRICE, CARBON, DATA, TIME, LATENESS, TOPOLOGY, FRAGMENTATION = range(8)
DAY_S, HOUR_S = 86_400.0, 3_600.0


@compiled
def until_s(hours: Floats, moment_s: float) -> float:
    """The sum of an hourly rate from the clock's start to a moment."""
    days = np.floor(moment_s / DAY_S)
    within = (moment_s - days * DAY_S) / HOUR_S
    hour = min(int(within), len(hours) - 2)
    return float(days * hours[-1] + hours[hour] + (hours[hour + 1] - hours[hour]) * (within - hour))


@compiled
def work_s(state: State, rules: Rules, job: int) -> float:
    """Reference seconds of work that the job is taken to have before it."""
    left = state.jobs.estimate_s[job] - state.jobs.attained_s[job]
    if not left < np.inf:
        left = rules.assume_s if rules.assume_s < np.inf else HOUR_S
    return float(max(left, 1.0))


@compiled
def rate_on(state: State, rules: Rules, job: int, site: int) -> float:
    """Reference seconds of work that the job does there in a second, holding the units that it asks or holds."""
    jobs = state.jobs
    speed = state.match.speed[jobs.cls[job], site]
    if jobs.units[job] == jobs.nominal[job]:
        return float(speed)
    return float(speed * (jobs.units[job] / jobs.nominal[job]) ** rules.efficiency)


@compiled
def stage_s(state: State, job: int, site: int) -> float:
    """Seconds to bring the job's input to the site; once it has run there it lies there."""
    jobs = state.jobs
    if jobs.input_gib[job] == 0.0 or jobs.site[job] == site:
        return 0.0
    return float(jobs.input_gib[job] * state.match.stage_s_per_gib[jobs.cls[job], site])


@compiled
def data_part(state: State, job: int, site: int, run_s: float, work_h: float) -> float:
    """The share of its time that the job would spend staging, and the egress over the work at the dearest price."""
    jobs, stage = state.jobs, stage_s(state, job, site)
    if stage == 0.0:
        return 0.0
    egress = jobs.input_gib[job] * state.match.egress_fen_per_gib[jobs.cls[job], site]
    dearest = state.marks[FEN_MOST] * work_h * max(jobs.units[job], 1)
    return float(stage / (stage + run_s) + (egress / dearest if dearest > 0 else 0.0))


@compiled
def site_score(state: State, rules: Rules, job: int, site: int, now_s: float, free: int) -> float:
    """The weighed sum, were so many units free."""
    jobs, sites, weights = state.jobs, state.sites, rules.weights
    capacity = max(sites.capacity[site], 1)
    score = sites.score[site] + rules.load_weight * (1.0 - free / capacity)
    if rules.unplanned == 1:
        return float(score)
    work = work_s(state, rules, job)
    run = work / rate_on(state, rules, job, site)
    ends_s = now_s + stage_s(state, job, site) + run
    score += weights[BEST_FIT] * (free - jobs.units[job]) / capacity
    score += weights[TIME] * (ends_s - now_s) / work
    score += weights[DATA] * data_part(state, job, site, run, work / HOUR_S)
    if ends_s > jobs.deadline_s[job]:
        score += weights[LATENESS]
    if weights[PRICE] > 0.0:
        fen = until_s(state.fen_until[site], ends_s) - until_s(state.fen_until[site], now_s)
        score += weights[PRICE] * fen / (work / HOUR_S * max(state.marks[FEN_MOST], 1e-12))
    if weights[CARBON] > 0.0:
        carbon = until_s(state.kgco2_until[site], ends_s) - until_s(state.kgco2_until[site], now_s)
        score += weights[CARBON] * carbon / (work / HOUR_S * max(state.marks[KGCO2_MOST], 1e-12))
    return float(score)
