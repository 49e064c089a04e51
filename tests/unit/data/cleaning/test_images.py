from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from headwater.data.cleaning.images import Seen, alike, decide
from headwater.data.cleaning.recipe import shipped

NEAR = st.lists(st.integers(0, 63), max_size=6)


@given(st.lists(st.tuples(st.sampled_from([0, 0xFFFF0000FFFF0000, 0x123456789ABCDEF0]), NEAR), max_size=12), st.integers(0, 8))
def test_all_pairs_of_pictures_within_so_many_bits_are_found(made: list[tuple[int, list[int]]], bits: int) -> None:
    looks = []
    for base, flipped in made:
        for bit in flipped:
            base ^= 1 << bit
        looks.append(base)
    expected = [(a, b) for a in range(len(looks)) for b in range(a + 1, len(looks)) if (looks[a] ^ looks[b]).bit_count() <= bits]
    assert alike(np.array(looks, dtype=np.uint64), bits) == expected


def seen(path: str, digest: str, look: int, width: int = 100) -> Seen:
    return Seen(path=path, sha256=digest, bytes=1, width=width, height=100, blur=99.0, look=look)


def test_the_larger_of_two_pictures_that_look_the_same_stays_and_the_other_names_it() -> None:
    stages = {stage.name: stage for stage in shipped("images").stages}
    files = [seen("a", "1", 0b111), seen("b", "2", 0b110, width=200), seen("c", "2", 0b110, width=200), seen("d", "4", 1 << 40 | 0xFFFF)]
    verdicts = decide(files, stages)  # type: ignore[arg-type]
    assert [(why.code if why else None, like) for why, like in verdicts] == [
        ("looks_the_same.alike", "b"),
        (None, ""),
        ("same_file.same", "b"),
        (None, ""),
    ]
