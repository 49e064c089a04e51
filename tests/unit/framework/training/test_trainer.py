"""The loop in one process: repeatable, resumable, stopped on request, and safe against what goes wrong."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headwater.core.errors import BadInput, Broken, StepFailed, Unavailable
from headwater.framework.training.course import Course, Indices
from headwater.framework.training.trainer import Trained, train

TRUE = torch.tensor([2.0, -1.0, 0.5])


class Line:
    """Learn three numbers from sums that they weigh; with dropout, so that what is random matters too."""

    unit = "rows"

    def __init__(self, rows: int = 64, spoilt: int | None = None) -> None:
        self.rows = torch.randn(rows, 3, generator=torch.Generator().manual_seed(7))
        self.sums = self.rows @ TRUE
        if spoilt is not None:
            self.sums[spoilt] = float("nan")

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Dropout(0.1), nn.Linear(3, 1))

    def count(self) -> int:
        return len(self.rows)

    def loss(self, model: nn.Module, examples: Indices, device: str) -> tuple[Tensor, int]:
        chosen = torch.from_numpy(examples)
        return ((model(self.rows[chosen])[:, 0] - self.sums[chosen]).float() ** 2).sum(), len(examples)

    def evaluate(self, model: nn.Module, device: str) -> Mapping[str, float]:
        return {"loss": float(((model(self.rows)[:, 0] - self.sums) ** 2).mean())}


def course(**more: Any) -> Course:
    told = {"steps": 40, "batch": 8, "micro": 8, "learning_rate": 0.05, "evaluate_every": 10, "checkpoint_every": 10, "clip": 0.0}
    return Course(**(told | more))


def weights(trained: Trained) -> Tensor:
    return nn.utils.parameters_to_vector(trained.model.parameters()).detach()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, again, other = train(Line(), course()), train(Line(), course()), train(Line(), course(seed=1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))
    assert first.curve[-1].measures["loss"] < first.curve[0].measures["loss"]


def test_gradients_gathered_over_portions_are_those_of_the_whole_batch() -> None:
    class Plain(Line):
        def model(self) -> nn.Module:
            return nn.Sequential(nn.Identity(), nn.Linear(3, 1))

    whole, portions = train(Plain(), course()), train(Plain(), course(micro=3))
    torch.testing.assert_close(weights(whole), weights(portions), rtol=1e-5, atol=1e-6)


def test_a_run_that_was_stopped_goes_on_to_the_very_same_weights(tmp_path: Path) -> None:
    whole = train(Line(), course())
    half = train(Line(), course(), folder=tmp_path, should_stop=lambda step: step == 17)
    assert (half.step, half.stopped) == (17, True)
    rest = train(Line(), course(), folder=tmp_path)
    assert (rest.resumed_from, rest.step, rest.stopped) == (17, 40, False)
    assert torch.equal(weights(rest), weights(whole))
    assert rest.curve == whole.curve


def test_the_schedulers_signal_ends_a_run_after_the_step_with_a_checkpoint(tmp_path: Path) -> None:
    def told(step: int, *_: Any) -> None:
        if step == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    ended = train(Line(), course(), folder=tmp_path, told=told)
    assert (ended.step, ended.stopped) == (6, True)
    assert signal.getsignal(signal.SIGTERM) == before
    assert train(Line(), course(), folder=tmp_path).resumed_from == 6


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    train(Line(), course(steps=20), folder=tmp_path)
    kept = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    with pytest.raises(StepFailed, match=r"The loss is nan at step \d+.*last checkpoint is as it was"):
        train(Line(spoilt=3), course(checkpoint_every=1000), folder=tmp_path)
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == kept


def test_a_full_disk_at_a_checkpoint_says_so_and_the_one_before_stays_whole(tmp_path: Path) -> None:
    class Large(Line):
        def model(self) -> nn.Module:
            return nn.Sequential(nn.Linear(3, 20_000), nn.Linear(20_000, 1))

    train(Large(), course(steps=10, learning_rate=1e-4), folder=tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(Unavailable, match="A checkpoint cannot be written"):
            train(Large(), course(learning_rate=1e-4), folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]
    assert train(Large(), course(learning_rate=1e-4), folder=tmp_path).resumed_from == 10


@pytest.mark.parametrize("harm", ["cut", "changed", "removed", "unfinished"])
def test_a_checkpoint_that_is_not_whole_is_passed_over_for_the_one_before(tmp_path: Path, harm: str) -> None:
    train(Line(), course(steps=20), folder=tmp_path)
    newest = tmp_path / "step-00000020"
    shard = next(newest.glob("*.distcp"))
    data = shard.read_bytes()
    if harm == "cut":
        shard.write_bytes(data[: len(data) // 2])
    elif harm == "changed":
        shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "removed":
        shard.unlink()
    else:
        (newest / "complete.json").unlink()
    assert train(Line(), course(), folder=tmp_path).resumed_from == 10


def test_where_no_checkpoint_is_whole_the_run_refuses_to_start_anew_by_itself(tmp_path: Path) -> None:
    train(Line(), course(steps=10), folder=tmp_path)
    (tmp_path / "step-00000010" / "complete.json").write_text("{}")
    with pytest.raises(Broken, match="No checkpoint is whole: step-00000010"):
        train(Line(), course(), folder=tmp_path)


def test_half_precision_scales_its_loss_and_learns_as_well() -> None:
    plain, half = train(Line(), course(steps=120)), train(Line(), course(steps=120, precision="bf16"))
    assert half.curve[-1].measures["loss"] < 4 * plain.curve[-1].measures["loss"] + 0.05


def test_progress_tells_the_loss_the_pace_and_what_is_left() -> None:
    heard: list[tuple[int, int, str, Mapping[str, float]]] = []
    train(Line(), course(steps=10), told=lambda *told: heard.append(told))
    assert [step for step, *_ in heard] == list(range(1, 11))
    step, of, words, figures = heard[-1]
    assert (step, of) == (10, 10)
    assert "rows/s" in words
    assert {"loss", "rows_per_s", "left_s", "learning_rate", "valid_loss"} <= set(figures)
    assert figures["left_s"] == 0


def test_a_course_that_does_not_fit_is_refused() -> None:
    with pytest.raises(BadInput, match="micro is 9 and batch 8"):
        train(Line(), course(micro=9))
    with pytest.raises(BadInput, match="no examples"):
        train(Line(rows=0), course())
    with pytest.raises(BadInput, match="several processes"):
        train(Line(), course(layout="sharded"))


def test_shares_of_no_example_are_no_trouble() -> None:
    assert np.isfinite(train(Line(rows=1), course(batch=1, micro=1, steps=3)).curve[-1].train_loss)
