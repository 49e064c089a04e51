"""A run over real processes: the same model whatever the layout, through lost ranks, added ranks and a change of layout."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from headwater.core.errors import BadInput, StepFailed
from headwater.framework.training.course import Course
from headwater.framework.training.ranks import Result, resize, run
from headwater.framework.training.tasks.language import Decoder, Language, Shape
from headwater.framework.training.trainer import train

TEXT = b"the river rises in the hills and runs down to the sea, and the sea goes back to the hills as rain. " * 60
SHAPE = Shape(layers=2, width=32, heads=2, window=32)


def language(seed: int = 0, text: bytes = TEXT) -> Language:
    return Language(text, SHAPE, seed=seed)


def course(**more: Any) -> Course:
    told = {"steps": 12, "batch": 6, "micro": 2, "learning_rate": 0.003, "evaluate_every": 6, "checkpoint_every": 2}
    return Course(**(told | more))


@pytest.fixture(scope="module")
def alone() -> Mapping[str, torch.Tensor]:
    """Give the weights that one process comes to."""
    return train(language(), course()).model.state_dict()


def close(found: Result, wanted: Mapping[str, torch.Tensor]) -> None:
    assert set(found.state) == set(wanted)
    for name, tensor in wanted.items():
        torch.testing.assert_close(found.state[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}")


@pytest.mark.parametrize("layout", ["replicated", "sharded"])
def test_three_ranks_come_to_the_weights_of_one_process(layout: str, alone: Mapping[str, torch.Tensor], tmp_path: Path) -> None:
    heard: list[int] = []
    found = run(language, course(layout=layout), tmp_path, ranks=3, told=lambda step, *_: heard.append(step))
    close(found, alone)
    assert heard == list(range(1, 13))
    assert found.curve[-1].measures["loss"] < found.curve[0].measures["loss"]


def killed_at(step: int) -> Any:
    """Return a listener that kills one of the ranks when a step is first told."""
    victims: list[int] = []

    def told(at: int, *_: Any) -> None:
        if at == step and not victims:
            victims.append(step)
            ranks_here()[-1].kill()

    return told


def ranks_here() -> list[psutil.Process]:
    """Return the processes of ranks that this process has started and that live."""
    alive = [one for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE]
    return [one for one in alive if "spawn_main" in " ".join(one.cmdline())]


def test_a_killed_rank_costs_no_more_than_the_steps_since_the_checkpoint(alone: Mapping[str, torch.Tensor], tmp_path: Path) -> None:
    found = run(language, course(steps=12), tmp_path, ranks=3, told=killed_at(5))
    assert found.stretches == (3, 2)
    close(found, alone)
    assert ranks_here() == []


def test_too_few_ranks_left_end_the_run_with_its_checkpoints_kept(tmp_path: Path) -> None:
    with pytest.raises(StepFailed, match=r"died \(SIGKILL\)\. 1 of 2 ranks are left"):
        run(language, course(), tmp_path, ranks=2, least=2, told=killed_at(5))
    assert any(path.name.startswith("step-") for path in tmp_path.iterdir())
    assert ranks_here() == []


def test_ranks_are_added_while_it_runs_and_the_layout_changes_after_it(alone: Mapping[str, torch.Tensor], tmp_path: Path) -> None:
    def told(step: int, *_: Any) -> None:
        if step == 4:
            resize(tmp_path, 3)

    first = run(language, course(steps=12), tmp_path, ranks=1, told=told)
    assert first.stretches == (1, 3)
    close(first, alone)
    further = run(language, course(steps=16, layout="sharded", learning_rate=0.0, weight_decay=0.0), tmp_path, ranks=2)
    close(further, alone)


def test_the_schedulers_signal_stops_all_ranks_with_a_checkpoint(tmp_path: Path) -> None:
    def told(step: int, *_: Any) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    found = run(language, course(steps=400), tmp_path, ranks=2, told=told)
    assert found.stopped
    assert found.step < 400
    assert (tmp_path / f"step-{found.step:08d}").is_dir()


def test_what_a_rank_raises_on_purpose_comes_out_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="too few for windows"):
        run(partial(language, text=b"short"), course(), tmp_path, ranks=2)
    with pytest.raises(BadInput, match="0 ranks"):
        resize(tmp_path, 0)


def test_a_decoder_sees_no_byte_that_comes_after() -> None:
    torch.manual_seed(0)
    model = Decoder(SHAPE)
    tokens = torch.randint(0, 256, (1, 20))
    changed = tokens.clone()
    changed[0, 12:] = 0
    with torch.no_grad():
        torch.testing.assert_close(model(tokens)[0, :12], model(changed)[0, :12])
