from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from headwater.core.errors import BadInput, Unavailable
from headwater.data.cleaning import executors, recipe, run
from headwater.data.cleaning.executors import Kind
from headwater.data.cleaning.results import lines_of
from headwater.data.cleaning.run import Order
from headwater.data.cleaning.steps import clean
from tests.flow.data.cleaning.documents import planted, written
from tests.flow.data.one_step import run as run_step

RAY = find_spec("ray") is not None


def on_ray_or_skip() -> None:
    """Skip where Ray is not installed, or does not start here (a machine under load is too slow for it)."""
    if not RAY:
        pytest.skip("ray is not installed: pip install 'headwater[ray]'")
    try:
        executors.opened("ray", 2).close()
    except Unavailable as error:
        pytest.skip(str(error)[:200])


def double(number: int) -> int:
    """Work for the executors; it stands here so that other processes can import it."""
    return 2 * number


def refuse(number: int) -> int:
    """Refuse one item."""
    if number == 3:
        raise BadInput("Three is refused.", "Leave it out.", where="item 3")
    return number


@pytest.mark.parametrize(("kind", "workers"), [("local", 1), ("local", 2), ("ray", 2)])
def test_every_executor_gives_every_result_once_and_passes_refusals_on(kind: Kind, workers: int) -> None:
    if kind == "ray":
        on_ray_or_skip()
    drawn = 0

    def items() -> Iterator[int]:
        nonlocal drawn
        for number in range(20):
            drawn += 1
            yield number

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        executor = executors.opened(kind, workers)
        try:
            results = executor.run(double, items())
            first = next(iter(results))
            assert drawn <= executors.AHEAD * workers + 1
            assert sorted([first, *results]) == [2 * number for number in range(20)]
            with pytest.raises(BadInput, match="Three is refused"):
                list(executor.run(refuse, range(5)))
        finally:
            executor.close()


def test_ray_data_gives_the_same_files_as_this_machines_cores(tmp_path: Path) -> None:
    on_ray_or_skip()
    file = written(tmp_path / "in.jsonl", planted(300))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for kind in ("local", "ray"):
            run.clean(Order(inputs=(file,), out=tmp_path / kind, recipe=recipe.shipped("pretraining"), workers=2, on=kind))  # type: ignore[arg-type]
    for name in ("kept.jsonl.zst", "removed.jsonl.zst", "report.json"):
        assert (tmp_path / "local" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()


@pytest.mark.skipif(RAY, reason="ray is installed")
def test_where_ray_is_not_installed_the_extra_is_named() -> None:
    with pytest.raises(Unavailable, match=r"headwater\[ray\]"):
        executors.opened("ray", 1)


def test_the_step_leaves_what_stays_what_goes_and_the_report(tmp_path: Path) -> None:
    file = written(tmp_path / "documents", planted(100))
    task = run_step(clean, tmp_path / "step", {"recipe": "plain"}, documents=file)
    kept = list(lines_of(task.outputs["documents"]))
    removed = list(lines_of(task.outputs["removed"]))
    assert len(kept) == task.metrics["kept"] == json.loads(task.outputs["report"].read_text(encoding="utf-8"))["kept"]
    assert len(kept) + len(removed) == task.metrics["read"] == 100
    assert task.facts["reasons"] == {"exact_duplicates.same": len(removed)}
    again = run_step(clean, tmp_path / "again", {}, documents=task.outputs["documents"], recipe=written_recipe(tmp_path))
    assert again.metrics["removed"] == 0


def written_recipe(folder: Path) -> Path:
    """Write a recipe that removes exact duplicates alone."""
    file = folder / "recipe.yaml"
    file.write_text("schema: headwater.cleaning/1\nname: only-exact\nstages: [exact_duplicates]\n", encoding="utf-8")
    return file


def test_a_folder_of_images_is_sorted_by_what_is_wrong_with_each(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    sharp = Image.effect_mandelbrot((256, 192), (-2.2, -1.4, 1.0, 1.4), 60)
    sharp.save(folder / "good.png")
    sharp.resize((200, 150)).save(folder / "small copy.jpg", quality=90)
    (folder / "same.png").write_bytes((folder / "good.png").read_bytes())
    sharp.transpose(Image.Transpose.FLIP_LEFT_RIGHT).filter(ImageFilter.GaussianBlur(9)).save(folder / "blurred.png")
    sharp.crop((0, 0, 30, 30)).save(folder / "tiny.png")
    (folder / "broken.png").write_bytes((folder / "good.png").read_bytes()[:500])
    (folder / "no image.gif").write_bytes(b"GIF89a\xff\xff\xff\xff")
    told = run.clean(Order(inputs=(folder,), out=tmp_path / "out", recipe=recipe.shipped("images")))
    assert [one["path"] for one in lines_of(tmp_path / "out" / "kept.jsonl.zst")] == ["good.png"]
    codes = {one["document"]["path"]: one["removed"]["code"] for one in lines_of(tmp_path / "out" / "removed.jsonl.zst")}
    assert codes == {
        "small copy.jpg": "looks_the_same.alike",
        "same.png": "same_file.same",
        "blurred.png": "blur.blurred",
        "tiny.png": "image_size.narrow",
        "broken.png": "image_file.broken",
        "no image.gif": "image_file.broken",
    }
    assert told["funnel"][-1]["out"] == 1


def test_an_image_that_claims_to_be_enormous_is_refused_by_its_header(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("1", (20_000, 20_000)).save(folder / "bomb.png")
    Image.new("1", (11_000, 10_000)).save(folder / "large.png")
    told = run.clean(Order(inputs=(folder,), out=tmp_path / "out", recipe=recipe.shipped("images")))
    assert [(row["code"], row["documents"]) for row in told["reasons"]] == [("image_file.pixels", 2)]
