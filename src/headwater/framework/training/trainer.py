"""The loop: the same for every kind of model, one process or many, from the start or from a checkpoint.

It is told to stop by SIGTERM (the scheduler's word), finishes the step, writes a checkpoint and says so; the next attempt goes on
from there. Import it only inside a function: it imports torch.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from headwater.core.errors import BadInput, StepFailed
from headwater.framework.training import checkpoint
from headwater.framework.training.course import Course, examples_of, in_micros, share
from headwater.framework.training.task import Task

Told = Callable[[int, int, str, Mapping[str, float]], None]
"""Hears of progress: the step, of how many, words for people, and figures."""
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
SMOOTHED = 0.9
FIRST_SCALE, MOST_SCALE, GROW_AFTER = 2.0**12, 2.0**24, 200
"""Of the loss in fp16, whose gradients would vanish: it doubles after so many good steps and halves after a bad one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What was measured at a step: the smoothed training loss, and the measures on what was held out."""

    step: int
    train_loss: float
    measures: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What came of a run. `stopped`: it was told to stop before its end, and a checkpoint holds what it did."""

    model: nn.Module
    step: int
    stopped: bool
    resumed_from: int
    curve: tuple[Point, ...]
    units_per_s: float


def silent(*_: object) -> None:
    """Hear nothing."""


def never(_: int) -> bool:
    """Stop at no step."""
    return False


def train(
    task: Task,
    course: Course,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    told: Told = silent,
    should_stop: Callable[[int], bool] = never,
) -> Trained:
    """Return the trained model; within a process group every rank calls it and holds its own share of the model.

    Checkpoints go to `folder`, and a run goes on from the newest there. `should_stop` is asked after each step.
    Raises BadInput for a course that does not fit, StepFailed for a loss that is not a number, Unavailable for a full disk at a
    checkpoint, Broken where no checkpoint is whole. What was checkpointed is lost by none of them.
    """
    check(course, task)
    with repeatable(course.seed):
        model = laid_out(task.model().to(device), course)
        return _Run(task, course, model, device, folder, told).all(should_stop)


def check(course: Course, task: Task) -> None:
    """Raise BadInput where a course does not fit its task or the process group."""
    if task.count() < 1:
        raise BadInput("There are no examples to train on.", "Give at least one.")
    if not 1 <= course.micro <= course.batch:
        raise BadInput(f"micro is {course.micro} and batch {course.batch}.", "micro is at least 1, and at most batch.")
    if course.layout == "sharded" and not dist.is_initialized():
        raise BadInput("A sharded layout needs several processes.", "Use layout replicated, or more ranks.")


def laid_out(model: nn.Module, course: Course) -> nn.Module:
    """Return the model as the layout holds it: whole, or with every block's and the rest's parameters shared out (FSDP2)."""
    if course.layout == "sharded":
        for block in blocks(model):
            fully_shard(block)
        fully_shard(model)
    return model


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the members of the model's lists of modules: what is repeated."""
    return [block for part in model.modules() if isinstance(part, nn.ModuleList) for block in part]


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Hold torch to algorithms that give the same bits again, and give its random state back afterwards."""
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


class _Run:
    """A run under way."""

    def __init__(self, task: Task, course: Course, model: nn.Module, device: str, folder: Path | None, told: Told) -> None:
        self.task, self.course, self.model, self.device, self.folder, self.told = task, course, model, device, folder, told
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=course.learning_rate, weight_decay=course.weight_decay)
        self.rank, self.ranks = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        self.smoothed = math.nan
        self.curve: list[Point] = []
        self.scale, self.good_steps = FIRST_SCALE if course.precision == "fp16" else 1.0, 0
        self.units, self.began_s, self.saved_s = 0, time.monotonic(), time.monotonic()

    def all(self, should_stop: Callable[[int], bool]) -> Trained:
        """Go from the newest checkpoint to the end, or to where it is told to stop."""
        first = step = self._resume()
        with heard_stop() as heard:
            while step < self.course.steps:
                step += 1
                self._step(step)
                stopping = step < self.course.steps and self._agreed(heard.is_set() or should_stop(step))
                if step % self.course.evaluate_every == 0 or step == self.course.steps:
                    self._evaluate(step)
                self._tell(step, first)
                if stopping or self._is_due(step):
                    self._save(step)
                if stopping:
                    break
        return Trained(
            model=self.model,
            step=step,
            stopped=step < self.course.steps,
            resumed_from=first,
            curve=tuple(self.curve),
            units_per_s=self._rate(),
        )

    def _resume(self) -> int:
        found = checkpoint.load(self.folder, self.model, self.optimizer) if self.folder is not None else None
        if found is None:
            return 0
        self.smoothed, self.scale = float(found.told["smoothed"]), float(found.told["scale"])
        self.curve = [Point(**point) for point in found.told["curve"]]
        return found.step

    def _step(self, step: int) -> None:
        """Do one optimizer step over this rank's share of the step's examples, portion by portion."""
        torch.manual_seed(self.course.seed * 1_000_003 + step)  # what is random in a step does not depend on the steps before
        self.model.train()
        self.optimizer.zero_grad()
        mine = share(examples_of(step, self.course, self.task.count()), self.rank, self.ranks)
        portions = list(in_micros(mine, self.course.micro))
        sums = torch.zeros(2, dtype=torch.float64)
        for portion in portions:
            loss, units = self._loss(portion)
            torch.autograd.backward(loss * self.scale)
            sums += torch.tensor([float(loss.detach()), units], dtype=torch.float64)
        if not portions:
            self._take_part()
        self._summed(sums)
        self._check_loss(float(sums[0] / sums[1]), step)
        self._update(float(sums[1]), step)
        self.units += int(sums[1])

    def _loss(self, portion: Any) -> tuple[Tensor, int]:
        dtype = DTYPES.get(self.course.precision)
        with torch.autocast(self.device.partition(":")[0], dtype=dtype) if dtype is not None else nullcontext():
            return self.task.loss(self.model, portion, self.device)

    def _take_part(self) -> None:
        """Run one example for nothing where this rank has none: the others wait for it in their collectives."""
        loss, _ = self._loss(examples_of(1, self.course, self.task.count())[:1])
        torch.autograd.backward(loss * 0.0)

    def _summed(self, sums: Tensor) -> None:
        """Add up sums and gradients over the ranks. Sharded gradients are means over ranks already: they become sums again."""
        if self.ranks == 1:
            return
        dist.all_reduce(sums)
        if isinstance(self.model, FSDPModule):
            for parameter in self.model.parameters():
                if parameter.grad is not None:
                    parameter.grad.mul_(self.ranks)
        else:
            for parameter in self.model.parameters():
                if parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                    dist.all_reduce(parameter.grad)

    def _check_loss(self, loss: float, step: int) -> None:
        if not math.isfinite(loss) and self.scale <= 1.0:
            kept = " The last checkpoint is as it was." if self.folder is not None else ""
            what = f"The loss is {loss} at step {step}, at learning rate {self.course.rate(step):g}.{kept}"
            raise StepFailed(what, "Lower the learning rate, or look at the data.")
        if math.isfinite(loss):
            self.smoothed = loss if math.isnan(self.smoothed) else SMOOTHED * self.smoothed + (1 - SMOOTHED) * loss

    def _update(self, units: float, step: int) -> None:
        """Step the optimizer with the mean gradient; in fp16 a gradient that overflowed is dropped, and the scale halved."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.course.rate(step)
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        for gradient in gradients:
            gradient.div_(units * self.scale)
        norm = torch.nn.utils.get_total_norm(gradients)
        whole = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if not bool(whole.isfinite()):
            if self.course.precision != "fp16" or self.scale <= 1.0:
                raise StepFailed(f"The gradient is not finite at step {step}.", "Lower the learning rate, or use fp32.")
            self.scale, self.good_steps = self.scale / 2, 0
            return
        if self.course.clip > 0:
            torch.nn.utils.clip_grads_with_norm_(self.model.parameters(), self.course.clip, norm)
        self.optimizer.step()
        self.good_steps += 1
        if self.course.precision == "fp16" and self.good_steps % GROW_AFTER == 0:
            self.scale = min(2 * self.scale, MOST_SCALE)

    def _agreed(self, stop: bool) -> bool:
        """Tell whether any rank is to stop: then all do, after the same step."""
        if self.ranks == 1:
            return stop
        votes = torch.tensor([float(stop)])
        dist.all_reduce(votes, dist.ReduceOp.MAX)
        return bool(votes[0])

    def _evaluate(self, step: int) -> None:
        self.model.eval()
        with torch.no_grad():
            measures = {name: float(value) for name, value in self.task.evaluate(self.model, self.device).items()}
        self.curve.append(Point(step=step, train_loss=self.smoothed, measures=measures))

    def _rate(self) -> float:
        return self.units / max(time.monotonic() - self.began_s, 1e-9)

    def _tell(self, step: int, first: int) -> None:
        """Tell how far it is, how fast, and how many seconds are left at that pace."""
        if self.rank != 0:
            return
        left_s = (time.monotonic() - self.began_s) / (step - first) * (self.course.steps - step)
        pace = {f"{self.task.unit}_per_s": self._rate(), "left_s": left_s}
        figures = {"loss": self.smoothed, "learning_rate": self.course.rate(step), **pace}
        if self.curve and self.curve[-1].step == step:
            figures |= {f"valid_{name}": value for name, value in self.curve[-1].measures.items()}
        words = f"step {step} of {self.course.steps}, loss {self.smoothed:.4g}, {self._rate():,.0f} {self.task.unit}/s, {left_s:.0f} s left"
        self.told(step, self.course.steps, words, figures)

    def _is_due(self, step: int) -> bool:
        timed = time.monotonic() - self.saved_s >= self.course.checkpoint_every_s
        return self._agreed(timed) or step % self.course.checkpoint_every == 0 or step == self.course.steps

    def _save(self, step: int) -> None:
        if self.folder is None:
            return
        told = {"smoothed": self.smoothed, "scale": self.scale, "curve": [asdict(point) for point in self.curve]}
        checkpoint.save(self.folder, step, self.model, self.optimizer, told)
        self.saved_s = time.monotonic()


@contextmanager
def heard_stop() -> Iterator[threading.Event]:
    """Give an event that SIGTERM sets, where this is the main thread: others hear of it through `should_stop`."""
    heard = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield heard
        return
    before = signal.signal(signal.SIGTERM, lambda *_: heard.set())
    try:
        yield heard
    finally:
        signal.signal(signal.SIGTERM, before)
