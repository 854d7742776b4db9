"""Several files of problems, mixed by weight."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.mixing import mixture
from areal_mesh.controller.prompts import PromptFile
from areal_mesh.runtime.settings import PromptSettings


@given(st.lists(st.floats(min_value=0.01, max_value=100), min_size=1, max_size=5), st.integers(0, 10_000))
def test_picks_of_a_file_are_counted_without_a_gap_and_keep_its_share(weights: list[float], start: int) -> None:
    mixed = mixture(weights)
    seen: dict[int, int] = {}
    for sequence in range(start, start + 500):
        file, rank = mixed.of(sequence)
        assert seen.setdefault(file, rank) == rank
        seen[file] = rank + 1
    for file, weight in enumerate(weights):
        assert mixed.counts[file] / len(mixed.picks) == pytest.approx(weight / sum(weights), abs=2e-3)


def test_a_single_file_is_gone_through_as_before() -> None:
    assert [mixture([1.0]).of(n) for n in (0, 1, 77)] == [(0, 0), (0, 1), (0, 77)]


def written(path: Path, name: str, count: int) -> Path:
    rows = [{"question": f"{name}{n}", "answer": "1", "source": name} for n in range(count)]
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


def test_files_are_mixed_and_each_has_epochs_of_its_own(tmp_path: Path) -> None:
    first, second = written(tmp_path / "a.json", "a", 30), written(tmp_path / "b.json", "b", 4)
    settings = PromptSettings.model_validate({"file": first, "also": [{"file": second, "weight": 0.5}]})
    prompts = PromptFile(settings, seed=1, spool=tmp_path)
    drawn = [prompts.at(sequence) for sequence in range(36)]
    again = PromptFile(settings, seed=1, spool=tmp_path)
    assert [again.at(sequence) for sequence in range(36)] == drawn
    assert again.digest == prompts.digest
    assert Counter(problem.source for problem in drawn) == {"a": 24, "b": 12}
    # Three epochs of the second file, each with every problem once.
    assert Counter(problem.problem for problem in drawn if problem.source == "b") == {f"b{n}": 3 for n in range(4)}
    assert {path.name for path in tmp_path.iterdir()} == {"a.json", "b.json"}, "what was laid out has no name"
