"""From a step's task to a trained model: where checkpoints go, on which device, in which format, and what is told of it all.

Import it only inside a function: it imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from headwater.core.errors import StepFailed
from headwater.core.steps import Task as StepTask
from headwater.framework.chips.adapter import Adapter, Device
from headwater.framework.chips.examine import device_named
from headwater.framework.training.course import Course
from headwater.framework.training.ranks import Make, Place, run
from headwater.framework.training.task import Task
from headwater.framework.training.trainer import Point, train

if TYPE_CHECKING:
    from headwater.framework.training.params import CourseParams

T = TypeVar("T", bound=Task)
Tensors = tuple[Tensor, ...]
HELD_FILE = "held.npz"
PROGRAM_FOLDER = "program"


def fit(task: StepTask, make: Callable[[], T], params: CourseParams) -> tuple[nn.Module, T]:
    """Return the trained model, whole and on the processor, with what it was trained on, and note its curve.

    Raises StepFailed where it was told to stop.
    """
    adapter, device = device_named(None)
    course = course_of(params, task.seed, adapter)
    folder = Path(task.settings.get("checkpoint") or task.folder / "tmp" / "checkpoints")
    folder.mkdir(parents=True, exist_ok=True)

    def told(step: int, of: int, words: str, figures: Mapping[str, float]) -> None:
        task.progress(step, of, words, **figures)

    torch.set_num_threads(params.threads)
    made = make()
    model, curve, step, pace = _trained(made, make, course, params, (adapter, device), folder, told)
    if step < course.steps:
        raise StepFailed(f"Told to stop at step {step} of {course.steps}.", "Its checkpoint is kept: the next attempt goes on from there.")
    task.measure(**{f"valid_{name}": value for name, value in curve[-1].measures.items()}, steps=step, units_per_s=pace)
    task.note(curve=[{"step": one.step, "train_loss": one.train_loss, **one.measures} for one in curve], precision=course.precision)
    return model.cpu().eval(), made


def _trained(
    made: Task, make: Make, course: Course, params: CourseParams, where: tuple[Adapter, Device], folder: Path, told: Any
) -> tuple[nn.Module, tuple[Point, ...], int, float]:
    adapter, device = where
    if params.ranks == 1:
        alone = train(made, course, device=device.torch_device, folder=folder, told=told)
        return alone.model, alone.curve, alone.step, alone.units_per_s
    place = Place(device=device.torch_device.partition(":")[0], backend=adapter.collective, threads=params.threads)
    found = run(make, course, folder, ranks=params.ranks, place=place, told=told)
    model = made.model()
    model.load_state_dict(dict(found.state))
    return model, found.curve, found.step, found.units_per_s


def course_of(params: CourseParams, seed: int, adapter: Adapter) -> Course:
    """Return the course, in the number format that the chip has for the one that was asked for."""
    becomes = adapter.dtypes()[params.precision].becomes
    given = params.model_dump(include=set(Course.__dataclass_fields__))
    return Course(**(given | {"precision": becomes, "seed": seed}))


def write_program(folder: Path, model: nn.Module, example: Tensors, held: tuple[Tensors, Tensor], dynamic: Any) -> None:
    """Write the frozen model, and the held-out inputs with what is right for each, so that later steps can measure."""
    from headwater.framework.program.frozen import freeze

    inputs, wanted = held
    freeze(model, example, dynamic=dynamic).save(folder / PROGRAM_FOLDER)
    arrays: dict[str, Any] = {f"input_{place}": tensor.numpy() for place, tensor in enumerate(inputs)}
    np.savez_compressed(folder / HELD_FILE, wanted=wanted.numpy(), **arrays)


def read_held(folder: Path) -> tuple[tuple[Any, ...], Any]:
    """Return the held-out inputs and what is right for each."""
    with np.load(folder / HELD_FILE, allow_pickle=False) as told:
        names = sorted((name for name in told.files if name != "wanted"), key=lambda name: int(name.removeprefix("input_")))
        return tuple(told[name] for name in names), told["wanted"]
