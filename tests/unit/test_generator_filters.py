"""Filters before the buffer: which groups they leave out, for which reason."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from areal_mesh.controller.admission import free_places
from areal_mesh.controller.records import GroupCounts
from areal_mesh.generator.filters.inputs import GradedGroup
from areal_mesh.generator.filters.table import build_filters
from areal_mesh.runtime.settings import AlgorithmSettings


def graded(correct: str, truncated: str = "") -> GradedGroup:
    """A letter a response: r for right, t for truncated."""
    return GradedGroup(
        tuple(letter == "r" for letter in correct), tuple(letter == "t" for letter in truncated.ljust(len(correct)))
    )


def reason(filters: Any, group: GradedGroup) -> str:
    return build_filters(AlgorithmSettings.model_validate({"filters": filters}).filters).reason(group)


TRUNCATED = "filter truncated: too many truncated"
CASES: list[tuple[Any, GradedGroup, str]] = [
    ([], graded("rrrr"), ""),
    (["equal_verdicts"], graded("rrrr"), "filter equal_verdicts: all correct"),
    ("equal_verdicts", graded("wwww"), "filter equal_verdicts: all incorrect"),
    (["equal_verdicts"], graded("wwwr"), ""),
    ([{"type": "equal_verdicts", "incorrect": False}], graded("wwww"), ""),
    ([{"type": "equal_verdicts", "correct": False}], graded("rrrr"), ""),
    ([{"type": "pass_rate", "at_least": 0.25}], graded("wwww"), "filter pass_rate: too few correct"),
    ([{"type": "pass_rate", "at_least": 0.25}], graded("wwwr"), ""),
    ([{"type": "pass_rate", "at_most": 0.75}], graded("rrrr"), "filter pass_rate: too many correct"),
    ([{"type": "truncated", "at_most": 0.5}], graded("wrwr", "tt"), ""),
    ([{"type": "truncated", "at_most": 0.0}, "equal_verdicts"], graded("ww"), "filter equal_verdicts: all incorrect"),
    ([{"type": "truncated", "at_most": 0.5}], graded("wrwr", "ttt"), TRUNCATED),
    (
        [{"type": "truncated", "at_most": 0.0}, "equal_verdicts"],
        graded("ww", "t"),
        TRUNCATED,
    ),
]


@pytest.mark.parametrize(("filters", "group", "expected"), CASES)
def test_a_group_is_left_out_for_the_first_reason(filters: Any, group: GradedGroup, expected: str) -> None:
    assert reason(filters, group) == expected


@given(st.lists(st.booleans(), min_size=1, max_size=16))
def test_what_equal_verdicts_lets_pass_has_an_advantage(correct: list[bool]) -> None:
    group = GradedGroup(tuple(correct), (False,) * len(correct))
    assert (reason(["equal_verdicts"], group) == "") == (len(set(correct)) == 2)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"filters": ["dapo"]}, "equal_verdicts"),
    "twice": ({"filters": ["equal_verdicts", "equal_verdicts"]}, "each may stand once"),
    "nothing": ({"filters": [{"type": "equal_verdicts", "correct": False, "incorrect": False}]}, "leaves nothing out"),
    "range": ({"filters": [{"type": "pass_rate", "at_least": 0.9, "at_most": 0.1}]}, "at_least = 0.9 is more than"),
    "one response": ({"filters": ["equal_verdicts"], "responses": 1}, "set responses to at least 2"),
    "oversampling": ({"oversampling": 0.5}, "greater than or equal to 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_settings_that_cannot_be_meant_are_refused(case: str) -> None:
    given_settings, says = BAD[case]
    with pytest.raises(ValidationError, match=says):
        AlgorithmSettings.model_validate(given_settings)


@given(
    batch=st.integers(1, 64),
    eta=st.integers(0, 4),
    version=st.integers(0, 20),
    stored=st.integers(0, 400),
    running=st.integers(0, 400),
    factor=st.floats(1, 8),
)
def test_oversampling_admits_more_and_never_for_places_that_are_taken(
    batch: int, eta: int, version: int, stored: int, running: int, factor: float
) -> None:
    counts = GroupCounts(running=running, stored=stored, trained=0, stale=0, filtered=0, failed=0)
    plain = AlgorithmSettings(batch_groups=batch, max_staleness=eta)
    more = plain.model_copy(update={"oversampling": factor})
    places = (eta + version + 1) * batch - stored
    found = free_places(more, counts, version, 10**6)
    assert found >= free_places(plain, counts, version, 10**6)
    assert found + running <= max(running, places * factor)
