"""Lines of problems and of answers are read as they are written."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.runtime.problem_lines import LineError, parse_line, references
from areal_mesh.runtime.problems import parse_problem


def reference(written: str) -> tuple[str, ...]:
    """The references of a line whose answer is written so."""
    return references(parse_line(f'{{"answer": {written}}}'.encode())["answer"])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.00001", "0.00001"),
        ("1e-05", "0.00001"),
        ("1e16", "10000000000000000"),
        ("1.50E-2", "0.0150"),
        ("3.50", "3.50"),
        ("-0", "-0"),
        ("9007199254740993", "9007199254740993"),
        ("0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"),
        ("9" * 5000, "9" * 5000),
        ('"1e-05"', "1e-05"),
        ('"NaN"', "NaN"),
    ],
)
def test_a_reference_is_what_stands_in_the_file(written: str, read: str) -> None:
    assert reference(written) == (read,)


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12))
def test_no_decimal_is_lost(value: object) -> None:
    assert reference(f"{value:f}") == (f"{value:f}",)


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("NaN", "NaN is no number that can be compared; write it as a string"),
        ("Infinity", "Infinity is no number"),
        ("-Infinity", "-Infinity is no number"),
        ("1e400", "1e400 is no number"),
        ("1e-999", "1e-999 has no decimals that can be written out"),
        ('["1", NaN]', "NaN is no number"),
        ("true", "got true"),
        ("null", "got null"),
        ("[]", r"got \[\]"),
        ('["1", null]', "got "),
        ('["1", ["2"]]', "got "),
        ("{}", "got {}"),
        ('" "', "it is blank"),
        ('"9 + 9\\n#### "', "nothing follows ####"),
    ],
)
def test_what_is_no_reference_is_refused(written: str, says: str) -> None:
    with pytest.raises(LineError, match=f"answer: .*{says}"):
        reference(written)


@pytest.mark.parametrize("solution", ["#### 18", "9 + 9 = 18\n#### 18", "a #### 1\n####18 ", "x ##### 18"])
def test_a_worked_solution_of_gsm8k_ends_in_its_answer(solution: str) -> None:
    assert references(solution) == ("18",)


def test_a_source_of_null_is_empty_and_names_that_are_numbers_keep_their_text() -> None:
    problem = parse_problem(b'{"id": 1.50, "problem": "b", "answer": "1", "source": null}')
    assert (problem.prompt_id, problem.source) == ("1.50", "")
    assert parse_problem(b'{"id": 7, "problem": "b", "answer": "1", "source": 2.0}').source == "2.0"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b'{"id": "a", "problem": 5, "answer": "1"}', "problem: expected a string that is not empty, got 5"),
        (b'{"id": "a", "problem": "b", "answer": "1", "source": true}', "source: expected a string, got true"),
        (b'{"id": true, "problem": "b", "answer": "1"}', "id: expected a string that is not empty, got true"),
        (b'{"id": "a", "problem": "b", "answer": "1", "answer": "2"}', "answer: stands twice in one object"),
        (b'{"id": "\xff"}', "is not UTF-8 at byte 8"),
    ],
)
def test_a_line_that_would_be_bent_is_refused(line: bytes, says: str) -> None:
    with pytest.raises(LineError, match=says):
        parse_problem(line)


def test_a_byte_order_mark_is_no_part_of_the_line() -> None:
    assert parse_line("\ufeff{}".encode()) == {}


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner)))
def test_any_answer_is_read_or_refused_by_name(answer: object) -> None:
    good = [item for item in (answer if isinstance(answer, list) else [answer]) if _is_reference(item)]
    if good and len(good) == (len(answer) if isinstance(answer, list) else 1):
        assert all(text.strip() for text in reference(json.dumps(answer)))
    else:
        with pytest.raises(LineError, match=r"^answer: "):
            reference(json.dumps(answer))


def _is_reference(item: object) -> bool:
    if isinstance(item, str):
        return bool(item.rpartition("####")[2].strip())
    return isinstance(item, float) and math.isfinite(item)
