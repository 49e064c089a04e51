"""A job shut in by bubblewrap: it sees the machine read-only, its own folder, and nothing else of what is the platform's own.

So it reads neither the platform's database nor its keys and secrets, nor another job's files; it sees no process but its own, and holds no
capability, also where the server runs as root. Devices stay visible, since accelerators are among them, and so does the network.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from headwater.core.errors import Unavailable
from headwater.core.settings import Settings

PROGRAM = "bwrap"
PATIENCE_S = 10.0


def private(settings: Settings) -> tuple[Path, ...]:
    """Return the files and folders of this machine that only the platform may read: its data folder, and what is kept elsewhere."""
    elsewhere = [Path(one) for one in (settings.slurm_token_file, settings.oidc_client_secret_file) if one]
    if "://" not in settings.store:
        elsewhere.append(Path(settings.store))
    if (database := settings.database.removeprefix("sqlite:///")) != settings.database:
        elsewhere += [Path(database + end) for end in ("", "-wal", "-shm")]
    data = settings.data_folder.resolve()
    return data, *(path for one in elsewhere if not (path := one.resolve()).is_relative_to(data))


def shut_in(argv: Sequence[str], *, folder: Path, hidden: Sequence[Path], kept: Sequence[Path] = ()) -> tuple[str, ...]:
    """Return a command that runs `argv` in `folder` with each of `hidden` empty but for `folder` and what is `kept` of it."""
    opened = [part for path in (folder, *kept) for part in ("--bind", str(path), str(path))]
    shared = ("--ro-bind", str(folder / "inputs"), str(folder / "inputs"))  # their bytes are other jobs' inputs too
    apart = ("--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-drop", "ALL")
    seen = ("--ro-bind", "/", "/", "--dev-bind", "/dev", "/dev", "--proc", "/proc")
    masked = [
        part for one in hidden if one.exists() for part in (("--tmpfs", str(one)) if one.is_dir() else ("--ro-bind", "/dev/null", str(one)))
    ]
    return (PROGRAM, *apart, *seen, *masked, *opened, *shared, "--chdir", str(folder), "--", *argv)


def check() -> None:
    """Raise Unavailable where bubblewrap is not installed, or this machine does not let it make namespaces."""
    if shutil.which(PROGRAM) is None:
        raise Unavailable("isolation is 'bubblewrap', and bwrap is not installed.", "Install bubblewrap, or set isolation to 'none'.")
    tried = subprocess.run(
        [PROGRAM, "--ro-bind", "/", "/", "--unshare-pid", "--proc", "/proc", "true"], capture_output=True, text=True, timeout=PATIENCE_S
    )
    if tried.returncode:
        hint = "Allow user namespaces, or set isolation to 'none'."
        raise Unavailable(f"bubblewrap cannot shut jobs in here: {tried.stderr.strip()[:200]}.", hint)
