"""How a job is told which accelerators are its own: by the variable that each vendor's runtime reads.

A machine holds accelerators of one vendor, but which one a declared chip belongs to is the
catalogue's matter; so every variable is set to the same indices, and to none where a job asked for
none. Names: the vendors' runtimes and vLLM's platform plug-ins. Iluvatar and MetaX read NVIDIA's.
"""

from __future__ import annotations

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


def visible_devices(indices: Sequence[int]) -> dict[str, str]:
    """Return the environment that shows a job these accelerators of its machine and no others."""
    return dict.fromkeys(VARIABLES, ",".join(str(index) for index in indices))
