"""What a form of deployment offers, and how a program is put into one: built, loaded again, and held against the eager module.

    told = deploy(program, "onnx", folder)
    runner = load(folder)
    (answer,) = runner.run(rows)

Arrays go in and come out, so that who runs a model needs no torch unless the form itself does.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.digests import of_file
from headwater.core.errors import BadInput, Broken, GateClosed, HeadwaterError, Unavailable
from headwater.core.registry import Family

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from headwater.framework.program.frozen import Form, Program

    Array = npt.NDArray[np.generic]

SCHEMA = "headwater.deployed/1"
FACTS_FILE = "deployed.json"
Ask = Callable[..., "Sequence[Array]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A form: its name, the extra that brings what it needs, and how it is built and opened."""

    name: str
    build: Callable[[Program, Path], None]
    """Write the program into an existing, empty folder. Raises BadInput for a program that it cannot hold."""
    open: Callable[[Path], Ask]
    extra: str = ""
    tolerance: float = 1e-4
    """Largest difference from eager beside the answer's largest entry."""


RUNTIMES: Family[Runtime] = Family("runtimes", Runtime)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A deployed model, ready to answer."""

    runtime: str
    ask: Ask

    def run(self, *inputs: Array) -> tuple[Array, ...]:
        """Return the answers to arrays."""
        return tuple(self.ask(*inputs))


def deploy(program: Program, to: str, folder: Path, *, tolerance: float | None = None) -> Form:
    """Write a program in a form into a new folder, and return how far its answers are from the eager module's.

    Raises NotFound for an unknown form, Unavailable where what it needs is not installed or the disk refuses, BadInput for a program
    that the form cannot hold, GateClosed where it answers otherwise: then there is no folder.
    """
    runtime = RUNTIMES.get(to)
    if folder.exists():
        raise BadInput("There is something there.", "Name a folder that is not there yet.", where=str(folder))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".deploying-") as made:
        part = Path(made) / "form"
        part.mkdir()
        _built(runtime, program, part)
        form = parity(program, runtime.open(part), to)
        allowed = runtime.tolerance if tolerance is None else tolerance
        _refuse_over(form, allowed, program)
        facts = {"schema": SCHEMA, "runtime": to, "parity": asdict(form), "tolerance": allowed, "sha256": digests(part)}
        try:
            (part / FACTS_FILE).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
            shutil.move(part, folder)
        except OSError as error:
            raise _cannot_write(error, folder) from error
    return form


def _built(runtime: Runtime, program: Program, folder: Path) -> None:
    try:
        runtime.build(program, folder)
    except ImportError as error:
        hint = f'Install it: pip install "headwater[{runtime.extra}]".' if runtime.extra else "Install Headwater's own requirements."
        raise Unavailable(f"The form '{runtime.name}' needs '{error.name}', which is not installed.", hint) from error
    except HeadwaterError:
        raise
    except OSError as error:
        raise _cannot_write(error, folder) from error
    except Exception as error:  # each converter has kinds of its own
        lines = str(error).strip().splitlines() or [type(error).__name__]
        first = next((line.strip(" -") for line in lines if "failed for" in line), lines[0])[:200]
        hint = "Choose another form, or leave the operator out."
        raise BadInput(f"The program cannot be put into the form '{runtime.name}': {first}", hint) from error


def _cannot_write(error: OSError, folder: Path) -> Unavailable:
    return Unavailable(f"The model cannot be written: {error.strerror or error}.", "Free some space.", where=str(folder))


def parity(program: Program, ask: Ask, name: str) -> Form:
    """Return how far a form's answers are from the eager module's on the example and on other inputs."""
    import torch

    from headwater.framework.program.frozen import answers, distance, others

    asked = (program.example, *others(program.example))
    model = program.model or program.module()
    with torch.no_grad():
        wanted = [answers(model(*one)) for one in asked]
    found = [[torch.from_numpy(array) for array in ask(*(tensor.numpy() for tensor in one))] for one in asked]
    return distance(name, found, wanted)


def _refuse_over(form: Form, tolerance: float, program: Program) -> None:
    largest = max(float(one.abs().max()) for one in program.run(*program.example))
    if form.largest_difference > tolerance * max(largest, 1.0):
        what = f"'{form.name}' differs from the eager module by {form.largest_difference:.3g} (cosine {form.cosine:.6f})"
        raise GateClosed(f"{what}, and {tolerance:g} is allowed.", "Raise the tolerance only if that does not matter to your use.")


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file in a folder, by its path there."""
    return {path.relative_to(folder).as_posix(): of_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def load(folder: Path) -> Runner:
    """Return the runner of a deployed model. Raises BadInput where there is none, Broken where a file was changed."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS_FILE).read_text(encoding="utf-8"))
        name, wanted = str(facts["runtime"]), dict(facts["sha256"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"There is no deployed model there: {error}.", "Give the folder that `deploy` wrote.", where=str(folder)) from error
    found = {path: told for path, told in digests(folder).items() if path != FACTS_FILE}
    if found != wanted:
        changed = sorted({path for path in (*found, *wanted) if found.get(path) != wanted.get(path)})
        raise Broken(f"Files are not as they were written: {', '.join(changed)[:200]}.", "Deploy it again.", where=str(folder))
    return Runner(runtime=name, ask=RUNTIMES.get(name).open(folder))
