from __future__ import annotations

import re
from pathlib import Path

import pytest

from headwater.core.errors import BadFile, NotFound
from headwater.data.cleaning import images, recipe
from headwater.data.cleaning.recipe import ImageRecipe, Recipe

PAGE = Path(__file__).resolve().parents[4] / "docs" / "cleaning.md"


def test_everything_wrong_in_a_recipe_is_said_at_once_with_its_line() -> None:
    text = """\
schema: headwater.cleaning/1
name: wrong
stages:
  - normalise
  - shorten
  - length: {least: -1}
  - near_duplicates:
      jaccard: 0.7
      bands: 2
  - digits: {most: 0.3, least: 2}
"""
    with pytest.raises(BadFile) as refused:
        recipe.read(text, "wrong.yaml")
    said = str(refused.value)
    assert "wrong.yaml:5, stages.1: There is no stage 'shorten'. There are: normalise" in said
    assert re.search(r"wrong\.yaml:6, least: Input should be greater than or equal to 0", said)
    assert re.search(r"wrong\.yaml:[78], .*2 bands of 4 rows miss 57", said)
    assert re.search(r"wrong\.yaml:10, least", said)


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        ("[length, normalise]", "'normalise' cannot come after 'length'"),
        ("[near_duplicates, exact_duplicates]", "Exact duplicates come before near ones"),
        ("[exact_duplicates, exact_duplicates]", "'exact_duplicates' stands here twice"),
        ("[{length: {}, digits: {}}]", "A stage is one name with its settings"),
        ("[]", "at least 1 item"),
        ("[{personal_data: {labels: [SHOE_SIZE]}}]", "there is no label 'SHOE_SIZE'"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(stages: str, said: str) -> None:
    with pytest.raises(BadFile, match=re.escape(said)):
        recipe.read(f"schema: headwater.cleaning/1\nname: odd\nstages: {stages}\n", "odd.yaml")


@pytest.mark.parametrize("name", recipe.presets())
def test_every_shipped_recipe_is_whole_and_carries_its_own_name(name: str) -> None:
    assert recipe.shipped(name).name == name


def test_a_digest_says_what_a_recipe_does_and_not_how_it_is_written() -> None:
    short = recipe.read("schema: headwater.cleaning/1\nname: a\nstages: [length]\n", "a.yaml")
    long = recipe.read("name: a\ntext: text\nstages:\n  - length: {most: 2000000, least: 50}\nschema: headwater.cleaning/1\n", "b.yaml")
    other = recipe.read("schema: headwater.cleaning/1\nname: a\nstages: [{length: {least: 51}}]\n", "c.yaml")
    assert short.digest() == long.digest() != other.digest()


def test_an_image_recipe_applies_its_stages_in_their_own_order() -> None:
    read = recipe.read("schema: headwater.image-cleaning/1\nname: i\nstages: [looks_the_same, blur, image_file]\n", "i.yaml")
    assert isinstance(read, ImageRecipe)
    assert [stage.name for stage in read.stages] == ["image_file", "blur", "looks_the_same"]


def test_an_unknown_recipe_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(NotFound, match="images, instructions, plain, pretraining, tables"):
        recipe.load("no-such-recipe")


def test_the_page_tells_every_stage_setting_and_shipped_recipe() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for kinds in (recipe.STAGES, images.STAGES):
        for name, stage in kinds.items():
            assert f"`{name}`" in page, name
            for setting in stage.model_fields:
                assert f"`{setting}`" in page, f"{name}.{setting}"
    for name in recipe.presets():
        assert f"`{name}`" in page, name


def test_all_settings_have_defaults_so_that_a_stage_may_be_a_bare_name() -> None:
    needing = {name for name, stage in recipe.STAGES.items() if any(one.is_required() for one in stage.model_fields.values())}
    assert needing == {"blocklist"}
    assert isinstance(recipe.shipped("pretraining"), Recipe)
