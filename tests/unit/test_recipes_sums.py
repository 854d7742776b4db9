"""The sums of the SmolLM2 preset."""

import json
from pathlib import Path

import pytest

from areal_mesh.recipes.sums import LARGEST, sum_lines, write_sums
from areal_mesh.recipes.table import recipe_targets
from areal_mesh.runtime.made import NotMadeHere
from areal_mesh.runtime.settings import load_settings


def test_sums_are_right_distinct_and_fixed_by_their_seed() -> None:
    rows = [json.loads(line) for line in sum_lines(81, 3)]
    assert all(str(sum(map(int, row["problem"].split("+")))) == row["answer"] for row in rows)
    assert len({row["problem"] for row in rows}) == len({row["id"] for row in rows}) == 81
    assert list(sum_lines(20, 3)) == list(sum_lines(81, 3))[:20]
    assert list(sum_lines(20, 4)) != list(sum_lines(20, 3))
    with pytest.raises(ValueError, match="there are 1 to"):
        list(sum_lines(LARGEST**2 + 1, 3))


def test_a_file_that_is_somebodys_is_left(tmp_path: Path) -> None:
    path = tmp_path / "sums.jsonl"
    assert write_sums(path, 5, 1)
    assert not write_sums(path, 5, 1)
    assert write_sums(path, 6, 1)
    path.write_text("mine")
    with pytest.raises(NotMadeHere):
        write_sums(path, 6, 1)


def test_the_recipe_makes_problems_where_some_are_asked_for() -> None:
    assert set(recipe_targets(load_settings("smollm2-135m-cpu"))) == {"model.folder", "prompts.file"}
    users = load_settings("smollm2-135m-cpu", ["model.recipe.problems=0"])
    assert set(recipe_targets(users)) == {"model.folder"}
