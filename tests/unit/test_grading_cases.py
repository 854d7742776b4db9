"""The labelled regression set: every rule, with the reason of each debatable label in the data."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.unit.grading_support import graded

CASES = Path(__file__).parent / "grading_cases"


def labelled() -> list[tuple[str, dict[str, str | bool]]]:
    return [
        (path.stem, json.loads(line))
        for path in sorted(CASES.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


@pytest.mark.parametrize(("area", "case"), labelled(), ids=lambda value: value if isinstance(value, str) else "")
def test_labelled_answer_is_graded_as_labelled(area: str, case: dict[str, str | bool]) -> None:
    verdict = graded(f"Therefore the result is $\\boxed{{{case['answer']}}}$.", str(case["gold"]))

    assert verdict.status == ("correct" if case["correct"] else "incorrect"), (
        f"{area}: gold {case['gold']!r}, answer {case['answer']!r}, "
        f"decided by {verdict.rule!r}; {case.get('reason', '')}"
    )


def test_regression_set_covers_every_area_with_both_labels() -> None:
    counts = Counter((area, case["correct"]) for area, case in labelled())

    assert sum(counts.values()) >= 500
    assert {area for area, _ in counts} == {path.stem for path in CASES.glob("*.jsonl")}
    assert all(counts[area, label] >= 5 for area, _ in list(counts) for label in (True, False))
