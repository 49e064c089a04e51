"""The picture of a graph of jobs: every job and every need is there, nothing overlaps, time flows to the right."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headwater.projects.drawing import BOX_HEIGHT, BOX_WIDTH, draw


@st.composite
def graphs(draw_from: st.DrawFn) -> tuple[list[str], dict[str, list[str]]]:
    """Give names in an order in which they can run, and what each needs."""
    count = draw_from(st.integers(0, 14))
    names = [f"job{number}" for number in range(count)]
    needs = {
        name: draw_from(st.lists(st.sampled_from(names[:number]), unique=True, max_size=4)) if number else []
        for number, name in enumerate(names)
    }
    return names, needs


@given(graphs())
def test_every_job_has_a_box_and_every_need_a_stream_to_the_right(graph: tuple[list[str], dict[str, list[str]]]) -> None:
    names, needs = graph
    picture = draw(names, needs)
    places = {box.name: box for box in picture.boxes}
    assert list(places) == names
    assert sorted((one.target, one.source) for one in picture.streams) == sorted((name, need) for name in names for need in needs[name])
    assert all(places[one.source].x + BOX_WIDTH < places[one.target].x for one in picture.streams)


@given(graphs())
def test_boxes_never_overlap_and_lie_within_the_picture(graph: tuple[list[str], dict[str, list[str]]]) -> None:
    picture = draw(*graph)
    corners = {(box.x, box.y) for box in picture.boxes}
    assert len(corners) == len(picture.boxes)
    for box in picture.boxes:
        assert 0 <= box.x <= picture.width - BOX_WIDTH
        assert 0 <= box.y <= picture.height - BOX_HEIGHT
        assert not any(other != box and abs(other.x - box.x) < BOX_WIDTH and abs(other.y - box.y) < BOX_HEIGHT for other in picture.boxes)


def test_a_chain_is_one_line() -> None:
    picture = draw(["a", "b", "c"], {"a": [], "b": ["a"], "c": ["b"]})
    assert len({box.y for box in picture.boxes}) == 1
    assert not any(one.far for one in picture.streams)
