"""A module is frozen once; eager, frozen and compiled answer alike; what cannot be frozen is refused with the line."""

from __future__ import annotations

import json
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headwater.core.errors import BadInput, Broken, GateClosed, Unavailable
from headwater.framework.program.frozen import compare, freeze, load
from headwater.framework.training.tasks.language import Decoder, Shape
from tests.unit.framework.program.modules import Branches, Counts, Divides, Fixes, Graphs, Images, Leaves, Perceptron

KINDS: dict[str, tuple[Any, list[Tensor], Any]] = {
    "table": (Perceptron, [torch.rand(4, 6)], [{0: ("n", 1, 64)}]),
    "images": (Images, [torch.rand(2, 3, 8, 8)], [{0: ("n", 1, 64)}]),
    "graph": (Graphs, [torch.rand(7, 5), torch.randint(0, 7, (2, 12))], [{0: ("nodes", 2, 99)}, {1: ("edges", 2, 99)}]),
    "language": (lambda: Decoder(Shape(layers=2, width=16, heads=2)), [torch.randint(0, 256, (2, 9))], [{0: ("n", 1, 8), 1: ("t", 2, 64)}]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_is_frozen_with_dimensions_that_may_change(kind: str, tmp_path: Path) -> None:
    make, example, dynamic = KINDS[kind]
    torch.manual_seed(1)
    model = make().eval()
    program = freeze(model, example, dynamic=dynamic)
    assert program.forms[0].largest_difference < 1e-6
    program.save(tmp_path / "program")
    again = load(tmp_path / "program")
    larger = [torch.cat([one, one]) if one.is_floating_point() or kind == "language" else torch.cat([one, one], dim=1) for one in example]
    with torch.no_grad():
        torch.testing.assert_close(again.run(*larger)[0], model(*larger), rtol=1e-5, atol=1e-6)
    assert again.dynamic() == tuple(dynamic)
    assert again.forms == program.forms


def test_the_compiled_form_is_compared_too() -> None:
    program = freeze(Perceptron(), [torch.rand(4, 6)], compile=True)
    assert [form.name for form in program.forms] == ["frozen", "compiled"]
    assert program.forms[1].cosine > 0.9999


REFUSED = {
    Branches: r"modules\.py:\d+: Branches decides by the value of a tensor at 'if total > 0:.*torch\.where or torch\.cond",
    Counts: r"modules\.py:\d+: Counts decides by the value of a tensor at 'return torch\.zeros\(int\(rows\.sum\(\)\.item\(\)\)\)'",
    Leaves: r"modules\.py:\d+: Leaves cannot be exported at 'return torch\.from_numpy",
    Fixes: r"modules\.py:\d+: Fixes fixes a dimension that was to be dynamic",
    Divides: r"answers the example with numbers that are none",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_frozen_is_refused_with_the_line(kind: type[nn.Module]) -> None:
    dynamic = [{0: ("n", 1, 64)}] if kind is Fixes else None
    with pytest.raises(BadInput, match=rf"(?s){REFUSED[kind]}"):
        freeze(kind(), [torch.rand(4, 6)], dynamic=dynamic)


def test_a_module_whose_answers_hang_on_what_export_does_not_see_is_refused() -> None:
    class Turns(nn.Module):
        turn = 1.0

        def forward(self, rows: Tensor) -> Tensor:
            Turns.turn = -Turns.turn
            return rows * Turns.turn

    with pytest.raises((GateClosed, BadInput)):
        freeze(Turns(), [torch.rand(4, 6)])


def test_inputs_that_do_not_fit_are_refused_with_what_is_taken() -> None:
    program = freeze(Perceptron(), [torch.rand(4, 6)], dynamic=[{0: ("n", 1, 64)}])
    with pytest.raises(BadInput, match=r"torch\.float32 \[4, 5\].*takes torch\.float32 \['n', 6\]"):
        program.run(torch.rand(4, 5))
    with pytest.raises(BadInput, match=r"torch\.int64"):
        program.run(torch.zeros(4, 6, dtype=torch.int64))
    with pytest.raises(BadInput, match="2 inputs were given"):
        program.run(torch.rand(4, 6), torch.rand(4, 6))
    with pytest.raises(BadInput, match="an input is a int"):
        freeze(Perceptron(), [3])  # type: ignore[list-item]
    with pytest.raises(BadInput, match="no example input"):
        freeze(Perceptron(), [])


def test_a_program_that_was_changed_on_disk_is_not_run(tmp_path: Path) -> None:
    freeze(Perceptron(), [torch.rand(4, 6)]).save(tmp_path / "p")
    file = tmp_path / "p" / "program.pt2"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(Broken, match="not those that were written"):
        load(tmp_path / "p")
    (tmp_path / "p" / "program.json").write_text(json.dumps({"schema": "other"}))
    with pytest.raises(BadInput, match="no program there"):
        load(tmp_path / "p")


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    program = freeze(Perceptron(), [torch.rand(4, 6)])
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(Unavailable, match="cannot be written"):
            program.save(tmp_path / "p")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_a_form_is_compared_on_inputs_of_the_users_own() -> None:
    program = freeze(Perceptron(), [torch.rand(4, 6)], dynamic=[{0: ("n", 1, 64)}])
    (form,) = compare(program, inputs=[(torch.rand(9, 6),)])
    assert form.same_largest == 1.0
