"""Each oddity of a real file is mended where that is safe, and named by its line where it is not."""

import gzip
import json
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.preparation.fields import Fields, UnknownField
from areal_mesh.preparation.mending import boxed, without_template
from areal_mesh.preparation.overlap import EvaluationSets, fingerprint
from areal_mesh.preparation.reading import LONGEST_LINE, FileFault, read_rows
from areal_mesh.preparation.report import Report
from areal_mesh.preparation.stream import Preparation
from areal_mesh.runtime.problems import parse_problem
from areal_mesh.runtime.settings.templates import TEMPLATES


def prepared(
    file: Path, evaluation: EvaluationSets | None = None, columns: str = "", **more: Any
) -> tuple[list[dict[str, Any]], Report]:
    """The lines that come out of a file, and its report; references with `hopeless` in them match nothing."""
    preparation = Preparation(
        source="set",
        fields=Fields.parse(columns),
        metadata=more.get("metadata", {}),
        evaluation=evaluation or EvaluationSets(),
        share=0.5,
        lengths=lambda problems: [len(problem) for problem in problems],
        limit=more.get("limit", 10_000),
        matches=lambda reference: "hopeless" not in reference,
    )
    lines = [problem.as_line() for problem in preparation.prepared(read_rows(file))]
    for line in lines:
        parse_problem(line.encode())  # loads as a prompt file
    return [json.loads(line) for line in lines], preparation.report


def written(folder: Path, *lines: str | bytes, name: str = "odd.jsonl") -> Path:
    file = folder / name
    raw = [line if isinstance(line, bytes) else line.encode() for line in lines]
    file.write_bytes(b"\n".join(raw) + b"\n")
    return file


MENDED: dict[str, tuple[str | bytes, dict[str, Any], str]] = {
    "missing id": ('{"problem": "p", "answer": "1"}', {"id": "set-1"}, "id was missing"),
    "null id": ('{"id": null, "problem": "p", "answer": "1"}', {"id": "set-1"}, "id was missing"),
    "numeric id": ('{"id": 17, "problem": "p", "answer": "1"}', {"id": "17"}, "id was a number"),
    "number": ('{"id": "a", "problem": "p", "answer": 3.50}', {"solutions": ["3.50"]}, ""),
    "exponent": ('{"id": "a", "problem": "p", "answer": 1e-05}', {"solutions": ["0.00001"]}, ""),
    "GSM8K": ('{"id": "a", "question": "p", "answer": "9 * 2 = 18\\n#### 18"}', {"solutions": ["18"]}, ""),
    "boxed": (
        '{"id": "a", "problem": "p", "level": "Level 5", "solution": "so $\\\\boxed{\\\\frac{1}{2}}$."}',
        {"solutions": ["\\frac{1}{2}"], "difficulty": 5.0},
        "answer taken out of its box",
    ),
    "list": ('{"id": "a", "problem": "p", "answer": ["1", "2/2"]}', {"solutions": ["1", "2/2"]}, ""),
    "null in a list": ('{"id": "a", "problem": "p", "answer": [null, 7]}', {"solutions": ["7"]}, "null among answers"),
    "twice in a list": ('{"id": "a", "problem": "p", "answer": ["1", 1]}', {"solutions": ["1"]}, ""),
    "byte order mark": (b'\xef\xbb\xbf{"id": "a", "problem": "p", "answer": "1"}', {"problem": "p"}, ""),
    "CRLF": (
        b'{"id": "a", "problem": "p\\r\\nq", "answer": "1"}\r',
        {"problem": "p\nq"},
        "line ends",
    ),
    "NUL in the file": (b'{"id": "a", "problem": "p\x00q", "answer": "1"}', {"problem": "pq"}, "NUL taken out"),
    "NUL in a text": (
        '{"id": "a", "problem": "p\\u0000q", "answer": "1"}',
        {"problem": "pq"},
        "NUL or byte order mark taken out",
    ),
    "whole surrogate pair": ('{"id": "a", "problem": "\\ud835\\udc65", "answer": "1"}', {"problem": "\U0001d465"}, ""),
    "messages": (
        '{"id": "a", "prompt": [{"role": "user", "content": "p"}], "reward_model": {"ground_truth": "5"}}',
        {"problem": "p", "solutions": ["5"]},
        "",
    ),
    "Open-Reasoner-Zero": (
        '{"id": "a", "question": "p", "final_answer": 5, "source": 3}',
        {"source": "3"},
        "",
    ),
}


@pytest.mark.parametrize("oddity", MENDED)
def test_what_is_safe_is_mended(oddity: str, tmp_path: Path) -> None:
    line, expected, note = MENDED[oddity]
    [row], report = prepared(written(tmp_path, line))
    assert {key: row[key] for key in expected} == expected
    assert list(report.mended) == ([note] if note else [])
    assert not report.left_out


NAMED: dict[str, tuple[str | bytes, str]] = {
    "null answer": ('{"id": "a", "problem": "p", "answer": null}', "answer: expected a string, a number, .* got null"),
    "boolean": ('{"id": "a", "problem": "p", "answer": true}', "got true"),
    "boolean in a list": ('{"id": "a", "problem": "p", "answer": ["1", false]}', "got false"),
    "NaN": ('{"id": "a", "problem": "p", "answer": NaN}', "NaN is no number that can be compared"),
    "blank": ('{"id": "a", "problem": "p", "answer": "  "}', "it is blank"),
    "nothing after the mark": ('{"id": "a", "problem": "p", "answer": "so ####"}', "nothing follows ####"),
    "object": ('{"id": "a", "problem": "p", "answer": {"x": 1}}', "answer: expected"),
    "nested list": ('{"id": "a", "problem": "p", "answer": [["1"]]}', "answer: expected"),
    "no answer": ('{"id": "a", "problem": "p"}', "has no answer: no field of id, problem is one; name it with"),
    "no problem": ('{"id": "a", "answer": "1"}', "has no problem: no field of answer, id is one"),
    "blank problem": ('{"id": "a", "problem": " ", "answer": "1"}', "problem: is blank"),
    "problem is a number": ('{"id": "a", "problem": 3, "answer": "1"}', "problem: expected a string, got 3"),
    "half a surrogate": (
        '{"id": "a", "problem": "x = \\ud835", "answer": "1"}',
        r"holds '\\ud835', half a character; what is left may be another problem",
    ),
    "half a surrogate in the answer": ('{"id": "a", "problem": "p", "answer": "\\udc65"}', "half a character"),
    "not JSON": ('{"id": "a", "problem": ', "is not JSON"),
    "not UTF-8": (b'{"id": "a", "problem": "\xff", "answer": "1"}', "is not UTF-8 at byte 24"),
    "a list": ("[1, 2]", "is not a JSON object"),
    "a key twice": ('{"id": "a", "problem": "p", "answer": "1", "answer": "2"}', "answer: stands twice"),
    "hopeless": ('{"id": "a", "problem": "p", "answer": "hopeless"}', "'hopeless' does not match itself in a box"),
}


@pytest.mark.parametrize("oddity", NAMED)
def test_what_is_not_is_named_by_its_line_and_left_out(oddity: str, tmp_path: Path) -> None:
    line, said = NAMED[oddity]
    good = '{"id": "good", "problem": "another", "answer": "1"}'
    rows, report = prepared(written(tmp_path, good, line))
    assert [row["id"] for row in rows] == ["good"]
    [found] = report.findings
    assert found.line == 2
    assert re.search(said, found.text), found.text


def test_a_line_of_megabytes_is_passed_over_and_the_next_is_read(tmp_path: Path) -> None:
    long = '{"id": "a", "problem": "' + "p" * (2 * LONGEST_LINE) + '", "answer": "1"}'
    rows, report = prepared(written(tmp_path, long, '{"id": "b", "problem": "q", "answer": "1"}'))
    assert [row["id"] for row in rows] == ["b"]
    assert report.findings[0].text.startswith(f"is {len(long) + 1:,} bytes long")


def test_duplicates_are_told_apart_by_problem_and_by_id(tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "problem": "Find $x + 1$.", "answer": "1"}',
        '{"id": "b", "problem": "find  $x+1$ .", "answer": ["2", "1"]}',
        '{"id": "c", "problem": "Find $x + 1$.", "answer": "3"}',
        '{"id": "a", "problem": "Find $x + 2$.", "answer": "1"}',
        '{"id": "a", "problem": "Find $x + 3$.", "answer": "1"}',
    ]
    rows, report = prepared(written(tmp_path, *lines))
    assert [row["id"] for row in rows] == ["a", "a-2", "a-3"]
    assert dict(report.left_out) == {"duplicate": 1, "duplicate with other answers": 1}
    assert report.findings[1].text == "the problem of line 1, whose answer is '1' and not '3'"
    assert report.mended["id was another's"] == 2


def test_numbers_in_a_problem_are_not_dressing() -> None:
    assert fingerprint("Find $x^{2}$") == fingerprint("find x^2")
    assert fingerprint("Find $x + 1$") != fingerprint("Find $x + 2$")
    assert fingerprint("\\dfrac{1}{2}") == fingerprint("\\frac {1}{2}")
    assert fingerprint("1 12") != fingerprint("11 2")


def test_what_stands_in_an_evaluation_set_is_left_out_and_set_phrases_are_not(tmp_path: Path) -> None:
    phrase = "where $m$ and $n$ are relatively prime positive integers. Find $m+n$."
    sets = EvaluationSets()
    sets.add("aime/1", f"Every morning Aya walks nine kilometers and stops at a coffee shop for some minutes, {phrase}")
    lines = [
        f"Every morning Aya walks nine kilometers and stops at a coffee shop for some minutes, {phrase}",
        f"The ratio of two areas of a regular polygon with eleven sides and its circle can be written as m/n, {phrase}",
        "Two trains leave at noon. When do they meet?",
    ]
    rows = [json.dumps({"id": str(number), "problem": line, "answer": "1"}) for number, line in enumerate(lines)]
    kept, report = prepared(written(tmp_path, *rows), sets)
    assert [row["id"] for row in kept] == ["1", "2"]
    assert report.findings[0].text == "100% of its n-grams are those of aime/1"
    assert report.left_out["in an evaluation set"] == 1


def test_prompts_over_the_limit_are_counted(tmp_path: Path) -> None:
    lines = [json.dumps({"id": str(length), "problem": "p" * length, "answer": "1"}) for length in (5, 50)]
    rows, report = prepared(written(tmp_path, *lines), limit=10)
    assert [row["id"] for row in rows] == ["5"]
    assert report.findings[0].text == "50 tokens, more than 10"


def test_areals_own_files_load_with_their_metadata(tmp_path: Path) -> None:
    metadata = {"q1": {"solutions": ["\\boxed{42}", "hopeless"]}, "q2": {"solutions": ["\\boxed{x^{2}}"]}}
    prompts = [
        {"prompt": TEMPLATES["deepscaler"].replace("{problem}", "Six by nine?").strip(), "query_id": "q1@idx:0-1"},
        {"prompt": TEMPLATES["orz"].replace("{problem}", "Square x."), "query_id": "q2"},
        {"prompt": "Lost?", "query_id": "q3"},
    ]
    file = written(tmp_path, *map(json.dumps, prompts))
    rows, report = prepared(file, columns="problem=prompt,id=query_id", metadata=metadata)
    assert [(row["problem"], row["solutions"]) for row in rows] == [("Six by nine?", ["42"]), ("Square x.", ["x^{2}"])]
    assert report.findings[0].text == "'hopeless' is left out"
    assert "q3: the metadata has none" in report.findings[1].text


PACKED: dict[str, Callable[[bytes], bytes]] = {".jsonl": bytes, ".jsonl.gz": gzip.compress, ".jsonl.xz": lzma.compress}


@pytest.mark.parametrize("suffix", PACKED)
def test_lines_are_read_compressed_or_not(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"set{suffix}"
    file.write_bytes(PACKED[suffix](b'{"id": "a", "problem": "p", "answer": "1"}\n'))
    assert [row["id"] for row in prepared(file)[0]] == ["a"]


def test_zstandard_and_parquet_are_read_where_their_packages_are(tmp_path: Path) -> None:
    zstandard = pytest.importorskip("zstandard")
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    packed = tmp_path / "set.jsonl.zst"
    packed.write_bytes(zstandard.compress(b'{"id": "a", "problem": "p", "answer": "1"}\n'))
    assert [row["id"] for row in prepared(packed)[0]] == ["a"]
    table = tmp_path / "set.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"question": ["p"], "answer": ["x #### 3"], "level": [2]}), table)
    [row], _ = prepared(table)
    assert (row["problem"], row["solutions"], row["difficulty"]) == ("p", ["3"], 2.0)


@pytest.mark.parametrize(
    "value",
    [
        [{"id": "a", "problem": "p", "answer": 1}],
        {"data": [{"id": "a", "problem": "p", "answer": 1}]},
        {"a": {"problem": "p", "answer": 1}},
        [[{"from": "human", "value": "p"}, {"from": "assistant", "ground_truth": {"value": "1"}}]],
    ],
)
def test_a_json_document_is_read_as_its_rows(value: Any, tmp_path: Path) -> None:
    file = tmp_path / "set.json"
    file.write_text(json.dumps(value), encoding="utf-8")
    [row], _ = prepared(file)
    assert (row["problem"], row["solutions"]) == ("p", ["1"])


def test_files_that_cannot_be_read_say_what_would_do(tmp_path: Path) -> None:
    broken = tmp_path / "set.jsonl.gz"
    whole = gzip.compress(b'{"id": "a", "problem": "p", "answer": "1"}\n' * 9)
    for damaged in (b"no gzip", whole[:-9], whole[:20] + bytes(9) + whole[29:]):
        broken.write_bytes(damaged)
        with pytest.raises(FileFault, match="cannot be read"):
            list(read_rows(broken))
    for name, package in (("set.parquet", "pyarrow"), ("set.jsonl.zst", "zstandard")):
        (tmp_path / name).write_bytes(b"x")
        try:
            __import__(package)
        except ImportError:
            with pytest.raises(FileFault, match=f"needs the package {package}"):
                list(read_rows(tmp_path / name))
    with pytest.raises(UnknownField, match="KIND one of problem, solutions, id, source, difficulty"):
        Fields.parse("answer=x")


def test_a_columns_mapping_is_followed(tmp_path: Path) -> None:
    file = written(tmp_path, '{"q": "p", "truth": "7", "answer": "no"}')
    [row], _ = prepared(file, columns="problem=q, solutions=truth")
    assert (row["problem"], row["solutions"]) == ("p", ["7"])


def test_boxes_and_templates_are_taken_off() -> None:
    assert boxed("so \\boxed{1} or rather \\boxed{\\frac{1}{2}}.") == "\\frac{1}{2}"
    assert boxed("never closed \\boxed{1") is None
    assert without_template("<｜User｜>p\nPlease reason") == "<｜User｜>p\nPlease reason"
