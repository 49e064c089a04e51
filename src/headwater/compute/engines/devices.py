"""How a job is told which accelerators are its own: by the variable that each vendor's runtime reads.

A machine holds accelerators of one vendor, but which one a declared chip belongs to is the
catalogue's matter; so every variable is set to the same indices, and to none where a job asked for
none. Names: the vendors' runtimes and vLLM's platform plug-ins. Iluvatar and MetaX read NVIDIA's.

Where a cluster only counts a kind of accelerator, jobs on a node tell theirs apart by locks. Standard library only.
"""

from __future__ import annotations

import fcntl
import os

TYPE_CHECKING = False  # collections takes long to import, and a runner has no use for it
if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLES = (
    "CUDA_VISIBLE_DEVICES",  # NVIDIA, Iluvatar, MetaX
    "HIP_VISIBLE_DEVICES",  # AMD, Hygon
    "ASCEND_RT_VISIBLE_DEVICES",  # Huawei Ascend
    "MLU_VISIBLE_DEVICES",  # Cambricon
    "MUSA_VISIBLE_DEVICES",  # Moore Threads
    "XPU_VISIBLE_DEVICES",  # Kunlunxin
    "TOPS_VISIBLE_DEVICES",  # Enflame
    "SUPA_VISIBLE_DEVICES",  # Biren
)
MOST_DEVICES = 64


def visible_devices(indices: Sequence[int]) -> dict[str, str]:
    """Return the environment that shows a job these accelerators of its machine and no others."""
    return dict.fromkeys(VARIABLES, ",".join(str(index) for index in indices))


def claimed(node: str, kind: str, count: int, *, most: int = MOST_DEVICES) -> dict[int, int]:
    """Return up to `count` of a kind's lowest indices below `most` that nobody on this node holds, each with the lock that holds it.

    Locks are inherited, and held until the last process that has them open is gone.
    """
    folder = os.path.join("/tmp", f"headwater-devices-{os.getuid()}", node)  # noqa: S108 - of this user, this node, and only locks
    os.makedirs(folder, mode=0o1777, exist_ok=True)
    held: dict[int, int] = {}
    for index in range(most):
        if len(held) == count:
            break
        lock = os.open(os.path.join(folder, f"{kind.replace(':', '.')}-{index}"), os.O_CREAT | os.O_RDWR, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        os.set_inheritable(lock, True)
        held[index] = lock
    return held
