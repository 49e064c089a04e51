"""Plans applied in real processes: what they compute is what one process computes, and what they send is what is counted."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from headwater.core.errors import BadInput, StepFailed
from headwater.framework.parallel.apply import apply, refusals
from headwater.framework.parallel.verify import TOLERANCE, Case, verify
from tests.flow.framework.families import FOUR, cross_entropy, decoder, plan
from tests.flow.framework.test_describe import Decoder


def test_losses_and_gradients_are_those_of_one_process_and_messages_are_counted_to_the_byte() -> None:
    # the same on eight processes is in the benchmark
    for check in verify(decoder, FOUR):
        assert check.loss_off <= TOLERANCE, check
        assert check.gradient_off <= TOLERANCE, check
        assert check.counted == check.expected, check
        assert check.gradients > 0


def dies() -> Case:
    """End one process without a word."""
    if os.environ.get("HEADWATER_TEST_RANK") is None and torch.distributed.get_rank() == 1:
        os._exit(9)
    return decoder()


def test_a_killed_rank_is_told_and_leaves_no_process_behind() -> None:
    with pytest.raises(StepFailed, match="A process of the plan failed"):
        verify(dies, [plan(dp=2)], patience_s=120)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"dp": 2, "zero": 1}, "ZeRO 1"),
        ({"cp": 2}, "Context and expert"),
        ({"pp": 2, "vp": 2, "global_batch": 7}, "7 micro-batches do not go through 2 interleaved stages"),
    ],
)
def test_a_plan_that_cannot_be_applied_is_refused_with_the_reason(changes: dict[str, int], reason: str) -> None:
    wrong = plan(pp=changes.get("pp", 1), dp=changes.get("dp", 1), zero=changes.get("zero", 0))
    wrong = type(wrong)(**{name: getattr(wrong, name) for name in type(wrong).__dataclass_fields__} | changes)
    case = decoder()
    with pytest.raises(BadInput, match=reason):
        apply(case.model, wrong, case.inputs, cross_entropy)


def test_weights_shared_across_a_pipeline_and_dropout_are_refused() -> None:
    assert "A weight is shared" in " ".join(refusals(Decoder([(4, 192)], 64, 8, 4, 96, tied=True), plan(pp=2)))
    assert "Dropout" in " ".join(refusals(nn.Sequential(nn.Dropout(0.1)), plan(dp=2)))
