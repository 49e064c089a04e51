#!/usr/bin/env python3
"""Set up, test, demonstrate and measure Headwater. Standard library only: it runs on a fresh machine.

python3 dev.py demo                      set up, then run the credit project end to end
python3 dev.py test [PYTEST ARGS]        set up, check style and types, run the whole test suite
python3 dev.py test --engines [PYTEST ARGS]   first install what the tests of Slurm and Ray use (Slurm: with apt, as root)
python3 dev.py check                     style, types, floors and dependencies only
python3 dev.py bench NAME [--check] [--json FILE]   run a benchmark of tests/bench
python3 dev.py docs                      write docs/reference anew from the code
python3 dev.py lock                      pin requirements/*.in anew
python3 dev.py system                    install with apt what some tests use (PostgreSQL, Chromium, Slurm); as root
python3 dev.py setup                     only make the environment
python3 dev.py clients                   install what some tests hold us against, in build/clients and build/pycanon
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
LEAST_PYTHON = (3, 11)
SYSTEM_PACKAGES = ("postgresql", "chromium", "chromium-driver", "fonts-noto-cjk", "bubblewrap")
SLURM_PACKAGES = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "slurmrestd", "slurm-wlm-jwt-plugin", "munge")
ACCOUNTING_PACKAGES = ("slurmdbd", "slurm-wlm-mysql-plugin", "mariadb-server")


def main(arguments: list[str]) -> int:
    """Run one command and return the exit status."""
    commands: dict[str, Callable[[list[str]], int]] = {
        "setup": lambda rest: setup(dev=True),  # noqa: ARG005
        "demo": demo,
        "test": test,
        "check": lambda rest: check(),  # noqa: ARG005
        "bench": bench,
        "docs": lambda rest: setup(dev=True) or python("-m", "tests.docs.reference", *rest),
        "lock": lambda rest: lock(),  # noqa: ARG005
        "system": lambda rest: system(),  # noqa: ARG005
        "clients": lambda rest: clients(),  # noqa: ARG005
    }
    if not arguments or arguments[0] not in commands:
        say((__doc__ or "").strip())
        return 0 if arguments[:1] in (["help"], ["--help"], ["-h"]) else 2
    return commands[arguments[0]](arguments[1:])


def setup(*, dev: bool) -> int:
    """Make or bring up to date the environment in .venv; nothing is done where it already fits."""
    if missing := what_is_missing():
        say(missing)
        return 3
    wanted = ["requirements/runtime.txt", "requirements/torch.txt"]
    wanted += ["requirements/dev.txt", "requirements/framework.txt"] if dev else []
    for file in wanted:
        stamp = ENVIRONMENT / f"{Path(file).stem}.installed"
        if not installed(stamp, file):
            status = install(file, stamp)
            if status:
                return status
    stamp = ENVIRONMENT / "headwater.installed"
    if not installed(stamp, "pyproject.toml"):
        return pip("install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)) or mark(stamp, "pyproject.toml")
    return 0


def what_is_missing() -> str:
    """Say what this machine lacks, or nothing."""
    if sys.version_info < LEAST_PYTHON:
        return f"Headwater needs Python 3.11 or newer; this is {sys.version.split()[0]}. Run dev.py with a newer one."
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError as error:
        return f"Python's own module '{error.name}' is missing. On Debian or Ubuntu: apt-get install python3-venv"
    if shutil.disk_usage(ROOT).free < 3 << 30 and not PYTHON.exists():
        return f"The environment needs about 3 GiB; {ROOT} has {shutil.disk_usage(ROOT).free >> 20} MiB free. Free some space."
    return ""


def install(file: str, stamp: Path) -> int:
    """Install one requirements file."""
    if not PYTHON.exists():
        say("Making the environment in .venv ...")
        status = subprocess.call([sys.executable, "-m", "venv", str(ENVIRONMENT)])
        if status:
            say("The environment could not be made; the message above is Python's own.")
            return status
    say(f"Installing {file} ...")
    options = {"torch": [], "framework": ["--no-deps"]}.get(Path(file).stem, ["--require-hashes"])
    return pip("install", *options, "-r", str(ROOT / file)) or mark(stamp, file)


def pip(*arguments: str) -> int:
    """Run pip, showing its output whole where it fails."""
    done = subprocess.run(
        [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        say(done.stdout)
        say(f"pip failed with status {done.returncode}: its words are above. Check the network, then run again.")
    return done.returncode


def installed(stamp: Path, file: str) -> bool:
    """Tell whether a file's present content was installed."""
    return PYTHON.exists() and stamp.exists() and stamp.read_text() == digest(file)


def mark(stamp: Path, file: str) -> int:
    """Note that a file's present content is installed."""
    stamp.write_text(digest(file))
    return 0


def digest(file: str) -> str:
    """Return a digest of a file and of the Python that it is installed for."""
    return hashlib.sha256((ROOT / file).read_bytes() + sys.version.encode()).hexdigest()


def python(*arguments: str, **environment: str) -> int:
    """Run the environment's Python in the repository."""
    return subprocess.call([str(PYTHON), *arguments], cwd=ROOT, env=os.environ | environment)


def demo(rest: list[str]) -> int:
    """Run the credit project as a newcomer would, and check what it leaves behind."""
    began = time.monotonic()
    status = setup(dev=False)
    if status:
        return status
    ready = time.monotonic()
    result = ROOT / "build" / "demo.json"
    result.parent.mkdir(exist_ok=True)
    result.unlink(missing_ok=True)
    status = python("-m", "headwater", "run", "recipes/credit/project.yaml", "--result", str(result), *rest)
    ended = time.monotonic()
    if status == 0 and (lacking := what_the_demo_lacks(result)):
        say(f"The run ended well, but {lacking}.")
        status = 1
    say(f"\nset up in {ready - began:.1f} s, ran in {ended - ready:.1f} s" + ("" if status == 0 else f"; exit status {status}"))
    return status


def what_the_demo_lacks(result: Path) -> str:
    """Say what the demo should have left and did not, or nothing."""
    if not result.exists():
        return "left no result file"
    told = json.loads(result.read_text(encoding="utf-8"))
    if told["run"]["state"] != "done":
        return f"the run is {told['run']['state']}"
    if not any(job["facts"].get("grades") for job in told["run"]["jobs"]):
        return "no trust grade was given"
    if not any(model["answered"]["predictions"] for model in told["models"]):
        return "no served model answered"
    return ""


def test(rest: list[str]) -> int:
    """Check style and types, then run the tests; with arguments, only pytest with those arguments."""
    if "--engines" in rest:
        return engines() or test([one for one in rest if one != "--engines"])
    drop_stale_kernels()
    if rest:
        return setup(dev=True) or python("-m", "pytest", *rest)
    return setup(dev=True) or check() or python("-m", "pytest")


def drop_stale_kernels() -> None:
    """Remove compiled kernels older than any source beside them: the compiler's cache does not see changes in a file that another calls."""
    for cache in {kept.parent for kept in (ROOT / "src").rglob("__pycache__/*.nb?")}:
        newest = max((source.stat().st_mtime for source in cache.parent.glob("*.py")), default=0.0)
        for kept in cache.glob("*.nb?"):
            if kept.stat().st_mtime < newest:
                kept.unlink()


def check() -> int:
    """Check style, types, floors and dependencies."""
    status = setup(dev=True)
    checks = (
        ("style", ["-m", "ruff", "check", "--quiet", "."]),
        ("format", ["-m", "ruff", "format", "--quiet", "--check", "."]),
        ("types", ["-m", "mypy", "--no-error-summary"]),
        ("floors", ["-c", "import sys; from importlinter.cli import lint_imports_command as c; sys.exit(c())", "--no-cache"]),
        ("dependencies", ["-m", "deptry", "src"]),
    )
    for name, command in checks:
        if status:
            break
        began = time.monotonic()
        done = subprocess.run([str(PYTHON), *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        status = done.returncode
        say(f"{name}: {'ok' if status == 0 else 'FAILED'} ({time.monotonic() - began:.1f} s)" + (f"\n{done.stdout}" if status else ""))
    return status


def bench(rest: list[str]) -> int:
    """Run one benchmark by name."""
    drop_stale_kernels()
    names = sorted(path.stem for path in (ROOT / "tests" / "bench").glob("*.py") if not path.stem.startswith("_"))
    if not rest or rest[0] not in names:
        say(f"Benchmarks: {', '.join(names)}")
        return 2
    return setup(dev=True) or python("-m", f"tests.bench.{rest[0]}", *rest[1:])


def lock() -> int:
    """Write requirements/*.txt from *.in: every version pinned, with hashes and without the index's address."""
    status = setup(dev=True) or pip("install", "pip-tools")
    options = ["--quiet", "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host", "--allow-unsafe"]
    for name in ("runtime", "dev", "engines"):
        if status == 0:
            command = [str(PYTHON), "-m", "piptools", "compile", *options, "--strip-extras", "-o", f"{name}.txt", f"{name}.in"]
            status = subprocess.call(command, cwd=ROOT / "requirements")
    return status


def system() -> int:
    """Install what some tests use and pip cannot bring."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        say(f"This needs root and apt. Install by other means: {' '.join(SYSTEM_PACKAGES + SLURM_PACKAGES + ACCOUNTING_PACKAGES)}")
        return 3
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *SYSTEM_PACKAGES, *SLURM_PACKAGES, *ACCOUNTING_PACKAGES],
    ):
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            say(done.stdout)
            return done.returncode
    return 0


def engines() -> int:
    """Install what the tests of engines use: system packages where this may, and Ray in the environment."""
    status = setup(dev=True) or (system() if os.geteuid() == 0 and shutil.which("apt-get") else 0)
    stamp = ENVIRONMENT / "engines.installed"
    if status or installed(stamp, "requirements/engines.txt"):
        return status
    return install("requirements/engines.txt", stamp)


def clients() -> int:
    """Install the outside clients that need other versions of libraries than ours, each kind in an environment of its own."""
    return beside("clients") or beside("pycanon")


def beside(name: str) -> int:
    """Install requirements/NAME.in in build/NAME; nothing is done where it is there."""
    folder, wanted = ROOT / "build" / name, f"requirements/{name}.in"
    stamp = folder / f"{name}.installed"
    if stamp.exists() and stamp.read_text() == digest(wanted):
        return 0
    say(f"Installing {wanted} in build/{name} ...")
    pip_there = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-r", str(ROOT / wanted)]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip_there):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            say(done.stdout)
            return done.returncode
    stamp.write_text(digest(wanted))
    return 0


def say(text: str) -> None:
    """Print a line now."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
