"""Files of problems as people have them: other names, no ids, arrays, compressed."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.runtime.problem_columns import columns_of, said_of
from areal_mesh.runtime.problem_files import ProblemFile, ProblemFileError
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings.data import ColumnSettings

ROWS = [{"question": "2+2?", "solution": "so #### 4"}, {"question": "1+2?", "solution": "3"}]
READ = [Problem("1", "2+2?", ("4",), ""), Problem("2", "1+2?", ("3",), "")]


def lines_of(rows: list[dict[str, Any]]) -> bytes:
    return b"\n\n".join(json.dumps(row).encode() for row in rows) + b"\n"


def problems_of(file: ProblemFile) -> list[Problem]:
    return [file.problem(line, ordinal) for ordinal, (_, line) in enumerate(file.lines(), start=1)]


@pytest.mark.parametrize("packed", [bytes, gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("form", [lines_of, lambda rows: json.dumps(rows, indent=2).encode()])
def test_lines_and_arrays_are_read_plain_or_compressed_whatever_the_name(
    tmp_path: Path, packed: Callable[[bytes], bytes], form: Callable[[Any], bytes]
) -> None:
    path = tmp_path / "mine.data"
    path.write_bytes(packed(form(ROWS)))
    file = ProblemFile(path)
    assert problems_of(file) == READ
    assert file.is_plain == (packed is bytes and form is lines_of)
    assert said_of(file.found) == "`question` is the problem, `solution` is the answer, problems are numbered"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"prompt": "p", "ground_truth": 3.50, "data_source": "s"}, Problem("1", "p", ("3.5",), "s")),
        (
            {"problem": "p", "solution": r"Then \boxed{\frac{1}{2}}.", "unique_id": "u"},
            Problem("u", "p", (r"\frac{1}{2}",), ""),
        ),
        (
            {"prompt": [{"role": "user", "content": "p"}], "reward_model": {"ground_truth": "4"}},
            Problem("1", "p", ("4",), ""),
        ),
        ({"id": 7, "problem": "p", "answer": ["1", "2"], "question": "q"}, Problem("7", "p", ("1", "2"), "")),
    ],
)
def test_the_names_that_data_sets_use_are_known(tmp_path: Path, row: dict[str, Any], problem: Problem) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert problems_of(ProblemFile(path)) == [problem]


def test_settings_name_the_fields_and_one_that_is_not_there_is_refused(tmp_path: Path) -> None:
    row = {"problem": "old", "text": {"new": "p"}, "answer": "1", "final": "2"}
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    columns = ColumnSettings(problem="text.new", answer="final")
    assert problems_of(ProblemFile(path, columns)) == [Problem("1", "p", ("2",), "")]
    with pytest.raises(LineError, match=r"has no `finale` \(prompts\.columns\.answer\); did you mean final\?"):
        columns_of(row, ColumnSettings(answer="finale"))


@pytest.mark.parametrize(
    ("row", "what"),
    [
        (
            {"a": 1, "answer": "2"},
            r"problem: expected a field of that name, or question, prompt, .*the line has a, answer",
        ),
        ({"problem": "p", "b": 1}, r"answer: expected a field .*name it with --set prompts\.columns\.answer=FIELD"),
        (
            {"problem": [{"role": "system", "content": "s"}, {"role": "user", "content": "p"}], "answer": "1"},
            "got system, user",
        ),
    ],
)
def test_what_cannot_be_guessed_says_what_the_line_has(tmp_path: Path, row: dict[str, Any], what: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(LineError, match=what):
        problems_of(ProblemFile(path))


def test_problems_need_no_answers_where_a_reward_of_ones_own_decides_alone(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "write"}\n{"prompt": "on"}\n', encoding="utf-8")
    file = ProblemFile(path, answers_needed=False)
    assert problems_of(file) == [Problem("1", "write", (), ""), Problem("2", "on", (), "")]
    assert "there are no reference answers" in said_of(file.found)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"PAR1\x15\x04", "is Parquet; write it as JSON lines"),
        (b"PK\x03\x04", "is a zip archive"),
        (b'[{"problem": "p", "answer": "1"} {"problem"', "behind entry 1: expected a comma"),
        (b'[{"problem": "p", "answer": "1"}, {"problem"', "is not JSON behind entry 1"),
        (gzip.compress(b'{"problem": "p", "answer": "1"}')[:-12], "is damaged"),
    ],
)
def test_what_is_no_such_file_is_said_with_what_would_do(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    with pytest.raises(ProblemFileError, match=what):
        problems_of(ProblemFile(path))
