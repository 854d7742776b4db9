"""`areal-mesh verify`: one verdict for each line, a table, bad lines by number, explanations."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.cli.main import main
from areal_mesh.grading import answer_matches
from areal_mesh.grading.explanation import RULES

GOOD: list[dict[str, Any]] = [
    {"response": r"so \boxed{\frac{1}{2}}", "answer": "0.5", "id": "half", "source": "math"},
    {"response": r"\boxed{1+\sqrt2}", "answer": ["3", r"\sqrt{3+2\sqrt2}"], "id": "root", "source": "math"},
    {"response": "the answer is (0,1]", "answer": "[0,1)", "id": 7, "source": "aime"},
    {"response": "I do not know", "answer": "1"},
]


def written(path: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    with path.open("wb") as file:
        for line in lines:
            content = json.dumps(line) if isinstance(line, dict) else line
            file.write((content if isinstance(content, bytes) else content.encode()) + b"\n")
    return path


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["verify", *map(str, arguments)])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("count", [1, 20_000])
def test_an_output_that_cannot_be_written_is_what_is_blamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    # Few verdicts reach the disk at the end alone, many on the way.
    answers = written(tmp_path / "answers.jsonl", *[GOOD[3]] * count)
    assert run(answers, "--output", "/dev/full") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "areal-mesh: --output /dev/full: No space left on device"
    missing = tmp_path / "none" / "verdicts.jsonl"
    assert run(answers, "--output", missing) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"areal-mesh: --output {missing}: No such file or directory; give a file in a folder")


def table_row(printed: str, name: str) -> list[str]:
    [row] = [line for line in printed.splitlines() if f"│ {name} " in line]
    return [cell.strip() for cell in row.strip("│ ").split("│")][1:]


def test_every_line_gets_its_verdict_and_counts_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "verdicts.jsonl"
    assert run(written(tmp_path / "answers.jsonl", *GOOD), "--output", output) == 0
    assert [(row["line"], row["status"], row["rule"]) for row in records(output)] == [
        (1, "correct", "rational"),
        (2, "correct", "symbolic"),
        (3, "incorrect", "interval"),
        (4, "incorrect", "no answer"),
    ]
    assert [row.get("id") for row in records(output)] == ["half", "root", "7", None]
    printed = capsys.readouterr()
    assert table_row(printed.out, "source math") == ["2", "0", "0", "100.0%"]
    assert table_row(printed.out, "source not named") == ["0", "1", "0", "0.0%"]
    assert table_row(printed.out, "interval") == ["0", "1", "0", "0.0%"]
    assert table_row(printed.out, "all") == ["2", "2", "0", "50.0%"]
    # No terminal: whole lines, the last one at the end of the file.
    assert printed.err.splitlines()[-1] == "100 %: 4 answers graded"


def test_a_bad_line_is_named_and_loses_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad: list[str | bytes | dict[str, Any]] = [
        "{not json", "[1]", {"answer": "1"}, {"response": "1"}, {"response": "1", "answer": []},
        {"response": "1", "answer": [None]}, b'{"response": "\xff", "answer": "1"}', "[" * 100_000,
    ]  # fmt: skip
    output = tmp_path / "verdicts.jsonl"
    assert run(written(tmp_path / "answers.jsonl", GOOD[0], "", *bad, GOOD[1]), "--output", output) == 1
    found = records(output)
    assert [row["line"] for row in found] == [1, *range(3, 12)]
    assert [row["status"] for row in found] == ["correct", *["error"] * 8, "correct"]
    assert all(f"line {row['line']}: " in row["fault"] for row in found[1:-1])
    errors = capsys.readouterr().err
    assert "line 3: is not JSON: Expecting property name" in errors
    assert "line 7: answer: expected a string, a number, or a list of them, got []" in errors
    assert "line 9: is not UTF-8 at byte " in errors
    assert "8 of 10 lines cannot be graded" in errors


def test_a_file_longer_than_a_batch_keeps_its_order(tmp_path: Path) -> None:
    rows = [{"response": rf"\boxed{{{index}}}", "answer": str(index - index % 2)} for index in range(600)]
    output = tmp_path / "verdicts.jsonl"
    assert run(written(tmp_path / "answers.jsonl", *rows), "--output", output) == 0
    assert [row["extracted"] for row in records(output)] == [str(index) for index in range(600)]
    assert [row["status"] for row in records(output)] == ["correct", "incorrect"] * 300


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--explain", "root"], ["line 2 (id root)", "not equal, by the rule `numeric`", "equal, by the rule `symb"]),
        (["--explain", "1"], ["line 1 (id half)", r"extracted from the last box: \frac{1}{2}", "verdict: correct"]),
        (["--explain"], ["line 3 (id 7)", "last statement of an answer: (0,1]", "read as (0, 1]", "open is not"]),
        (["--explain", "4"], ["extracted: nothing; the response states no answer", "verdict: incorrect"]),
        (["--explain", "7", "--protocol", "strict_qwen"], ["stripped by the protocol", "verdict: correct"]),
    ],
)  # fmt: skip
def test_an_explanation_shows_the_steps(
    arguments: list[str], expected: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(written(tmp_path / "answers.jsonl", *GOOD), *arguments) == 0
    printed = capsys.readouterr().out
    assert [part for part in expected if part not in printed] == []


def test_an_explanation_of_a_hostile_answer_stays_short_and_printable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = {"response": "\x1b[2J\ud800 \\boxed{" + "x" * 1500 + "\x1b]0;owned}", "answer": "1"}
    assert run(written(tmp_path / "answers.jsonl", hostile), "--explain", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.isprintable() and len(line) < 250 for line in lines)


def test_what_cannot_be_read_written_or_explained_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = written(tmp_path / "answers.jsonl", GOOD[0])
    for arguments, message in (
        ([tmp_path / "none.jsonl"], "no such file"),
        ([answers, "--output", answers], "is the file that is read"),
        ([answers, "--output", tmp_path / "none" / "verdicts.jsonl"], "No such file or directory"),
        ([answers, "--explain", "none"], "no line has the id or number none"),
        ([answers, "--explain"], "no answer is incorrect"),
        ([answers, "--explain", "--output", tmp_path / "verdicts.jsonl"], "leave --output out"),
        (
            [written(tmp_path / "bad.jsonl", {"response": 5, "answer": "1"}), "--explain", "1"],
            "line 1: response: expected a string, got 5",
        ),
        ([written(tmp_path / "empty.jsonl", "")], "holds no answers"),
        ([tmp_path], "is no regular file"),
    ):
        assert run(*arguments) == 1
        assert message in capsys.readouterr().err
    assert records(answers) == [GOOD[0]]


def test_references_are_graded_as_they_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines: list[str | bytes | dict[str, Any]] = [
        r'{"response": "\\boxed{0.00001}", "answer": 0.00001}',
        r'{"response": "\\boxed{10^{16}}", "answer": 1e16}',
        r'{"response": "\\boxed{18}", "answer": "He has 9 + 9.\n#### 18"}',
        r'{"response": "\\boxed{nan}", "answer": NaN, "id": "q4"}',
        r'{"response": "\\boxed{1}", "answer": 1e400}',
        r'{"response": "\\boxed{True}", "answer": true}',
        r'{"response": "\\boxed{1}", "answer": "1", "source": null}',
    ]
    output = tmp_path / "verdicts.jsonl"
    assert run(written(tmp_path / "answers.jsonl", *lines), "--output", output) == 1
    statuses = ["correct"] * 3 + ["error"] * 3 + ["correct"]
    assert [row["status"] for row in records(output)] == statuses
    assert records(output)[3]["id"] == "q4"
    errors = capsys.readouterr().err
    assert "line 4: answer: NaN is no number that can be compared; write it as a string" in errors
    assert "line 5: answer: 1e400 is no number" in errors
    assert "line 6: answer: expected a string, a number, or a list of them, got true" in errors
    assert "source" not in records(output)[6]


def test_a_file_of_something_else_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = written(tmp_path / "answers.jsonl", GOOD[0])
    thesis = tmp_path / "thesis.tex"
    thesis.write_text("irreplaceable")
    other = written(tmp_path / "other.jsonl", GOOD[1])
    for mine in (thesis, other):
        before = mine.read_bytes()
        assert run(answers, "--output", mine) == 1
        assert f"--output {mine}: is there and holds something else than verdicts" in capsys.readouterr().err
        assert mine.read_bytes() == before
    verdicts = tmp_path / "verdicts.jsonl"
    verdicts.touch()
    assert run(answers, "--output", verdicts) == 0
    assert run(written(tmp_path / "more.jsonl", *GOOD), "--output", verdicts) == 0
    assert len(records(verdicts)) == len(GOOD)
    assert run(answers, "--output", "/dev/null") == 0


def test_names_are_shown_as_they_are_and_bad_lines_keep_theirs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines: list[str | bytes | dict[str, Any]] = [
        {"response": r"\boxed{5}", "answer": 5, "source": "[/math]", "id": "[a]"},
        {"response": r"\boxed{5}", "answer": [5.0], "source": "[train] x"},
        {"response": r"\boxed{5}", "answer": "5", "source": "\ud83d \x1b[2J"},
        {"answer": "5", "source": "lost", "id": "q4"},
    ]
    output = tmp_path / "verdicts.jsonl"
    assert run(written(tmp_path / "answers.jsonl", *lines), "--output", output) == 1
    printed = capsys.readouterr().out
    for name in ("source [/math]", "source [train] x", r"source \ud83d \x1b[2J", "source lost"):
        assert len(table_row(printed, name)) == 4
    assert (records(output)[3]["id"], records(output)[3]["source"]) == ("q4", "lost")


def test_a_terminal_shows_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    assert run(written(tmp_path / "answers.jsonl", *GOOD)) == 0
    assert "4 answers" in terminal.getvalue()
    assert "100%" in terminal.getvalue()


def test_every_rule_of_the_labelled_answers_has_a_meaning() -> None:
    cases = Path(__file__).parent / "grading_cases"
    lines = [line for path in cases.glob("*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    rules = {answer_matches(rf"\boxed{{{case['answer']}}}", case["gold"]).rule for case in map(json.loads, lines)}
    assert rules <= set(RULES)


def test_the_other_grader_stands_beside_ours_with_the_lines_they_differ_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("math_verify", reason="install math-verify (the dev extra) to put it beside ours")
    answers = written(
        tmp_path / "answers.jsonl",
        {"response": r"\boxed{\frac12}", "answer": "0.5"},
        {"response": r"\boxed{x=y=2}", "answer": "(2,2)"},
        {"response": r"\boxed{3}", "answer": "4"},
    )

    assert run(answers, "--against", "math-verify") == 0

    printed = capsys.readouterr().out
    assert table_row(printed, "correct") == ["1", "1"]
    assert table_row(printed, "incorrect") == ["0", "1"]
    assert "line 2: ours correct (list), math-verify incorrect: answer 'x=y=2', reference '(2,2)'" in printed


def test_a_missing_other_grader_is_named_with_what_would_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "math_verify", None)

    assert run(written(tmp_path / "answers.jsonl", GOOD[0]), "--against", "math-verify") == 1

    assert "pip install math-verify" in capsys.readouterr().err


def test_references_that_no_answer_could_match_are_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golds = written(
        tmp_path / "golds.jsonl",
        {"answer": r"\frac12"},
        {"answer": r"\frac{3}{"},
        {"answer": ["4", r"\sqrt{16}"]},
        {"answer": "a § b"},
        {"problem": "what is missing here?"},
    )

    assert run("--golds", golds) == 1

    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["line 2", "line 4", "line 5", "5 lines"]
    assert "does not match itself" in lines[0]
    assert "only the same letters match it" in lines[1]
    assert lines[-1] == "5 lines: 2 cannot be matched, 1 by the same letters alone"
    assert run("--golds", written(tmp_path / "good.jsonl", {"answer": 7})) == 0
