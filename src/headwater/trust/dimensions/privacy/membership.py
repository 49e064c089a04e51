"""Membership inference: an attacker who sees only the loss guesses which rows were in the training data.

Members are the training rows, non-members the test rows; a smaller loss points to a member. 0.5 is a coin toss.

Sources: Yeom, Giacomelli, Fredrikson and Jha 2018 (loss threshold); Carlini et al. 2022 (true-positive rate at a
small false-positive rate, because an average hides the few rows that leak most).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from headwater.trust.examination import Examination, Part, measure
from headwater.trust.measurement import Absent, Measurement, Text
from headwater.trust.stats import Interval, Rate, auc, binomial_range, wilson

if TYPE_CHECKING:
    import numpy.typing as npt

    from headwater.trust.examination import Answers

    Floats = npt.NDArray[np.float64]

FALSE_POSITIVE_RATE = 0.01
FEWEST_NON_MEMBERS = 1000
FEWEST_FOR_AUC = 30
SMALLEST_PROBABILITY = 1e-12


class Scores(NamedTuple):
    """How member-like each row looks: minus its loss."""

    members: Floats
    others: Floats


def scores(exam: Examination) -> Scores | None:
    """Return the attacker's scores, or None where the training rows are not known."""
    if exam.train is None or exam.train_answers is None:
        return None
    return Scores(_minus_loss(exam.train, exam.train_answers), _minus_loss(exam.test, exam.answers))


def _minus_loss(part: Part, answers: Answers) -> Floats:
    own = answers[np.arange(part.n), part.labels]
    return np.asarray(np.log(np.maximum(own, SMALLEST_PROBABILITY)), dtype=np.float64)


@measure(
    "privacy.membership_auc",
    title=Text(en="Membership inference, AUC", zh="成员推断攻击 AUC"),
    summary=Text(
        en="How well the loss tells training rows from others: 0.5 is a coin toss, 1 is certainty.",
        zh="仅凭损失区分训练样本与其他样本的能力：0.5 等同抛硬币，1 为完全可辨。",
    ),
)
def membership_auc(exam: Examination) -> tuple[Measurement, ...]:
    """Return the area under the loss attack's ROC curve."""
    found = scores(exam)
    if found is None:
        return (_unknown(exam),)
    counts = {"members": len(found.members), "non-members": len(found.others)}
    smallest = min(counts.values())
    if smallest < FEWEST_FOR_AUC:
        absent = _too_few(smallest, FEWEST_FOR_AUC)
        return (Measurement(n=sum(counts.values()), smallest=smallest, counts=counts, absent=absent),)
    value, interval = auc(found.members, found.others, exam.level)
    return (Measurement(value=value, interval=interval, n=sum(counts.values()), smallest=smallest, counts=counts),)


@measure(
    "privacy.membership_tail",
    title=Text(en="Membership inference, true-positive rate at 1 % false positives", zh="成员推断攻击：1 % 误报率下的命中率"),
    summary=Text(
        en="Share of training rows that the attacker names with at most 1 % false alarms; 0.01 is chance.",
        zh="攻击者在误报率不超过 1 % 时能指认的训练样本比例；0.01 为随机水平。",
    ),
)
def membership_tail(exam: Examination) -> tuple[Measurement, ...]:
    """Return the true-positive rate at 1 % false positives; refused below 1,000 non-members."""
    found = scores(exam)
    if found is None:
        return (_unknown(exam),)
    counts = {"members": len(found.members), "non-members": len(found.others)}
    n, smallest = sum(counts.values()), min(counts.values())
    if len(found.others) < FEWEST_NON_MEMBERS or len(found.members) < FEWEST_FOR_AUC:
        absent = _too_few(len(found.others), FEWEST_NON_MEMBERS)
        return (Measurement(n=n, smallest=smallest, counts=counts, absent=absent),)
    value, interval, hits = tail(found, exam.level)
    return (Measurement(value=value, interval=interval, n=n, smallest=smallest, counts=counts | {"members named": hits}),)


def tail(found: Scores, level: float) -> tuple[float, Interval, int]:
    """Return the true-positive rate at 1 % false positives, its interval, and the members named.

    The threshold with a true rate of 1 % is itself uncertain: half the error is spent on the range of order
    statistics that holds it, half on Wilson's interval of the members above either end.
    """
    half, others, members = (1 + level) / 2, len(found.others), len(found.members)
    least, most = binomial_range(others, FALSE_POSITIVE_RATE, half)
    strict, at, loose = (named(found, rate) for rate in (least / others, FALSE_POSITIVE_RATE, most / others))
    low, high = wilson(Rate(math.floor(strict), members), half).low, wilson(Rate(math.ceil(loose), members), half).high
    method = "Wilson at both ends of the threshold's range"
    return at / members, Interval(low=low, high=high, level=level, method=method), math.floor(at)


def named(found: Scores, false_positive_rate: float) -> float:
    """Return how many members score above the threshold with this false-positive rate; equal scores are named in part, at random."""
    others, members = np.sort(found.others), np.sort(found.members)
    wanted = false_positive_rate * len(others)
    threshold = others[len(others) - 1 - min(math.floor(wanted), len(others) - 1)]
    above, tied = (len(others) - np.searchsorted(others, threshold, side) for side in ("right", "left"))
    members_above, members_tied = (len(members) - np.searchsorted(members, threshold, side) for side in ("right", "left"))
    share = min(1.0, (wanted - above) / (tied - above))
    return float(members_above + share * (members_tied - members_above))


def _unknown(exam: Examination) -> Measurement:
    reason = Text(en="The training rows are not known, so members cannot be told apart.", zh="训练数据未知，无法区分成员与非成员。")
    return Measurement(n=exam.test.n, smallest=0, absent=Absent(code="no_training_rows", reason=reason))


def _too_few(n: int, needed: int) -> Absent:
    return Absent(
        code="too_few_rows",
        reason=Text(
            en=f"{n} rows outside the training data are too few; {needed:,} are needed, {needed - n:,} more.",
            zh=f"训练集以外仅有 {n} 行，至少需要 {needed:,} 行，还需 {needed - n:,} 行。",
        ),
        more_samples=needed - n,
    )
