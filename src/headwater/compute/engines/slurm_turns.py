"""Who has which attempt of an array: claims that are made once, and the attempts that an element takes after its own.

Starting an element costs a cluster more than a short job does, so an element whose own attempt has ended well and that began only just
now takes further attempts of its array, from the last one backwards: Slurm starts elements from the first one on. A claim is the link
`taken-INDEX` in the array's folder, which names the element that runs the attempt; a link is made once, whatever the file system
thinks of locks. An element whose own attempt is taken runs nothing at all, so Slurm may cancel it at any time.

Standard library only: a runner imports it.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False  # collections takes long to import, and a runner has no use for it
if TYPE_CHECKING:
    from collections.abc import Iterator

TAKEN = "taken-"
TICKETS = "tickets"
SERVER = "server"
"""Stands in a claim for the element: the server has it, and nobody is to run the attempt."""
FIRST = 16
"""How many elements of an array run at a time until it is seen that its attempts are not short."""
SHORT_S = 0.25
"""What an attempt may take on the average to count as short: not much more than starting an element takes."""
SHARE_S = 2.0
"""For how long after its begin an element takes further attempts; Slurm's time limit has a minute more than one attempt needs."""


def claim(array: str, index: int, element: str) -> bool:
    """Claim an attempt of the array in a folder for an element, and tell whether nobody had before."""
    try:
        os.symlink(element, os.path.join(array, f"{TAKEN}{index}"))
    except FileExistsError:
        return False
    return True


def holder(array: str, index: int) -> str | None:
    """Return the element that has an attempt, SERVER where nobody is to run it, None where nobody has it yet."""
    try:
        return os.readlink(os.path.join(array, f"{TAKEN}{index}"))
    except OSError:
        return None


def turns(array: str, count: int, own: int, element: str, share_s: float) -> Iterator[int]:
    """Give the attempts that an element runs, each claimed: its own, then others while it is younger than `share_s`."""
    last_s = time.monotonic() + share_s
    if not claim(array, own, element):
        return
    yield own
    while time.monotonic() < last_s and (other := count - _ticket(array)) > own:
        if claim(array, other, element):
            yield other


def _ticket(array: str) -> int:
    """Return a number that no other element of the array has, from 1 on; a file system between machines may give one out twice."""
    file = os.open(os.path.join(array, TICKETS), os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, b".")
        return os.lseek(file, 0, os.SEEK_CUR)
    finally:
        os.close(file)
