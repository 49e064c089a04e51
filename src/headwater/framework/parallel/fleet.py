"""A fleet: pools of chips, each with its fast group (a server or a rack on one switch) and its port to the others.

64xA100-80                     64 chips of the catalogue's A100 with 80 GB
64xA100-80/net50/price12.5     each with 50 GB/s to other servers, at 12.5 yuan a chip-hour
32xH800-80+32xA800-80          two kinds of chips: pipeline stages are shared out between them
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from headwater.core.errors import BadInput
from headwater.framework.parallel.chips import Chip, find

MOST_CHIPS = 1 << 17
MOST_POOLS = 4
POOL = re.compile(r"([0-9]{1,7})x([A-Za-z0-9][A-Za-z0-9._ /-]{0,60}?)((?:/(?:group|net|price)[0-9]{1,7}(?:\.[0-9]{1,4})?)*)")
OPTION = re.compile(r"/(group|net|price)([0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Chips of one kind. `price` is yuan for a chip-hour, None where nobody said."""

    chip: Chip
    count: int
    price: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Pools in the order in which pipeline stages run through them."""

    pools: tuple[Pool, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.pools) <= MOST_POOLS:
            raise BadInput(f"{len(self.pools)} pools.", f"A fleet has between 1 and {MOST_POOLS}.")
        if not 1 <= self.chips <= MOST_CHIPS or any(pool.count < 1 for pool in self.pools):
            raise BadInput(f"{self.chips} chips.", f"A fleet has between 1 and {MOST_CHIPS}, and every pool at least one.")

    @property
    def chips(self) -> int:
        """How many chips there are."""
        return sum(pool.count for pool in self.pools)

    @property
    def mixed(self) -> bool:
        """Whether there is more than one kind of chip."""
        return len(self.pools) > 1

    @property
    def name(self) -> str:
        """The fleet as it is written."""
        return "+".join(f"{pool.count}x{pool.chip.id}" for pool in self.pools)

    @classmethod
    def probe(cls, *, seconds: float = 0.5) -> Fleet:
        """Return the devices of this machine with what they gave just now: the accelerators, or the processor where there are none.

        `seconds` go into each ladder of measurements. What cannot be measured on one machine is assumed, and the chip says so.
        """
        from headwater.framework.parallel.probed import pools

        return cls(pools=pools(seconds))

    @classmethod
    def load(cls, text: str) -> Fleet:
        """Return the fleet that a text describes. Raises BadInput, and NotFound for a chip that is not in the catalogue."""
        if len(text) > 400:
            raise BadInput("The fleet is longer than 400 characters.", "Write it as in 64xA100-80.")
        return cls(pools=tuple(_pool(part.strip()) for part in text.split("+")))


def _pool(text: str) -> Pool:
    found = POOL.fullmatch(text)
    if found is None:
        raise BadInput(f"'{text[:80]}' is no pool of chips.", "Write it as in 64xA100-80 or 64xA100-80/net50/price12.5.")
    options = {name: float(value) for name, value in OPTION.findall(found[3])}
    chip = find(found[2].strip())
    if "net" in options:
        chip = replace(chip, network_gb_s=_above_zero(options["net"], text))
    if "group" in options:
        chip = replace(chip, fast_group=int(_above_zero(options["group"], text)))
    return Pool(chip=chip, count=int(found[1]), price=options.get("price"))


def _above_zero(value: float, text: str) -> float:
    if value < 1:
        raise BadInput(f"'{text[:80]}' has an option below 1.", "group is a number of chips, net is GB/s for each chip.")
    return value
