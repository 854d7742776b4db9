"""The prompt file."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.indexed_file import PromptFileError
from areal_mesh.controller.prompts import PromptFile, group_seed, permuted
from areal_mesh.runtime.settings import PromptSettings


def write(path: Path, count: int) -> Path:
    lines = [json.dumps({"id": f"p{n}", "problem": f"{n} + é", "answer": str(n), "source": "s"}) for n in range(count)]
    path.write_text("\n".join(lines) + "\n")
    return path


def prompts_of(path: Path, seed: int = 1, **chosen: Any) -> PromptFile:
    return PromptFile(PromptSettings(file=path, **chosen), seed)


@given(size=st.integers(1, 300), key=st.text(max_size=5))
def test_each_epoch_is_a_permutation(size: int, key: str) -> None:
    assert sorted(permuted(position, size, key) for position in range(size)) == list(range(size))


def test_every_epoch_has_every_problem_once_in_an_order_of_its_own(tmp_path: Path) -> None:
    prompts = prompts_of(write(tmp_path / "p.jsonl", 20))
    epochs = [[prompts.at(epoch * 20 + n).prompt_id for n in range(20)] for epoch in range(3)]
    assert all(sorted(epoch) == sorted(f"p{n}" for n in range(20)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_sequence_number_names_the_same_problem_in_every_life_of_a_run(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", 11)
    first, second, other = (prompts_of(path, seed=seed) for seed in (7, 7, 8))
    assert [first.at(n) for n in range(40)] == [second.at(n) for n in range(40)]
    assert [first.at(n) for n in range(40)] != [other.at(n) for n in range(40)]


def test_without_shuffling_the_order_is_the_files(tmp_path: Path) -> None:
    prompts = prompts_of(write(tmp_path / "p.jsonl", 4), shuffle=False)
    assert [prompts.at(n).prompt_id for n in range(6)] == ["p0", "p1", "p2", "p3", "p0", "p1"]


def test_a_limit_takes_the_first_so_many(tmp_path: Path) -> None:
    assert len(prompts_of(write(tmp_path / "p.jsonl", 9), count=5)) == 5


def test_the_digest_is_of_the_lines_that_are_used(tmp_path: Path) -> None:
    short, long = write(tmp_path / "short.jsonl", 5), write(tmp_path / "long.jsonl", 9)
    whole, first, all_of_long = prompts_of(short), prompts_of(long, count=5), prompts_of(long)
    assert whole.digest == first.digest != all_of_long.digest


def test_a_line_that_is_another_one_by_now_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", 3)
    prompts = prompts_of(path, shuffle=False)
    path.write_text(path.read_text().replace("1 + ", "1 - "))
    assert prompts.at(0).prompt_id == "p0"
    assert prompts.fault is None
    with pytest.raises(PromptFileError, match=r"was changed while the run went on") as raised:
        prompts.at(1)
    assert prompts.fault is raised.value


def test_an_answer_may_be_a_string_a_number_or_several(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    answers = ["1", 2, ["3", "three"]]
    path.write_text("\n\n".join(json.dumps({"id": "a", "problem": "b", "answer": answer}) for answer in answers))
    prompts = prompts_of(path, shuffle=False)
    assert [prompts.at(n).gold_answers for n in range(3)] == [("1",), ("2",), ("3", "three")]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"problem": "b", "answer": "1"}', "id: expected a string"),
        ('{"id": "a", "answer": "1"}', "problem: expected a string"),
        ('{"id": "a", "problem": "b"}', "answer: expected a string, a number"),
        ('{"id": "a", "problem": "b", "answer": []}', "answer: expected a string, a number"),
        ('{"id": "a", "problem": "b", "answer": [null]}', "answer: expected a string, a number"),
        (r'{"id": "a", "problem": "\ud83d", "answer": "1"}', r"holds '\ud83d', half a character"),
        (r'{"id": "a", "problem": "b", "answer": "1", "source": "\ud83d"}', r"holds '\ud83d', half a character"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, bad: str, says: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "a", "problem": "b", "answer": "1"}\n' + bad + "\n")
    with pytest.raises(PromptFileError, match="line 2") as raised:
        prompts_of(path)
    assert says in str(raised.value)


def test_a_missing_or_empty_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PromptFileError, match=r"set prompts\.file"):
        prompts_of(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(PromptFileError, match="has no problems"):
        prompts_of(tmp_path / "empty.jsonl")


def test_group_seeds_differ_and_leave_room_for_the_responses() -> None:
    seeds = {group_seed(1, sequence) for sequence in range(1000)}
    assert len(seeds) == 1000
    assert max(seeds) < 2**62
    assert group_seed(2, 0) != group_seed(1, 0)
