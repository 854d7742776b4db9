"""What the page is given: columns of figures, queries out of parameters, and texts cut round a match."""

import pytest

from areal_mesh.page.shaping import BadRequest, columns, excerpt, number_of, plain, query_of
from areal_mesh.rollouts.values import RolloutQuery


def test_figures_come_as_columns_and_what_a_step_lacks_is_none() -> None:
    rows = [
        {"step": 1, "stage_name": "8", "reward": 1.0, "staleness": {"0": 3}},
        {"step": 2, "stage_name": "16", "reward": 2, "loss": 0.5, "flag": True},
    ]
    assert columns(rows, 0) == {"step": [1, 2], "stage_name": ["8", "16"], "reward": [1.0, 2], "loss": [None, 0.5]}
    assert columns(rows, 1) == {"step": [2], "stage_name": ["16"], "reward": [2], "loss": [0.5]}
    assert columns(rows, 2) == {"stage_name": []}


def test_numbers_that_are_not_finite_are_none() -> None:
    assert plain({"loss": [1.0, float("nan"), float("inf")], "inner": ({"x": -float("inf")}, "NaN", 3, None)}) == {
        "loss": [1.0, None, None],
        "inner": [{"x": None}, "NaN", 3, None],
    }


def test_empty_parameters_do_not_matter_and_a_dash_is_no_source() -> None:
    assert query_of({"verdict": "", "step": "", "order": "", "text": "", "other": "x"}) == RolloutQuery()
    given = {"verdict": "incorrect", "step": "3", "source": "-", "rule": "text", "text": "x%", "order": "worst"}
    assert query_of(given) == RolloutQuery(
        verdict="incorrect", step=3, source="", rule="text", text="x%", order="worst"
    )


@pytest.mark.parametrize("text", ["-1", "1.5", "one", "²", "9" * 12])
def test_what_is_no_count_is_named(text: str) -> None:
    with pytest.raises(BadRequest, match="is no count"):
        number_of({"after": text}, "after", 0)
    with pytest.raises(BadRequest, match="step = "):
        query_of({"step": text})


def test_an_excerpt_lies_round_the_match() -> None:
    whole = "a" * 500 + "Needle" + "b" * 500
    cut = excerpt(whole, "needle")
    assert "Needle" in cut
    assert (cut[0], cut[-1], len(cut)) == ("…", "…", 322)
    assert excerpt("short", "needle") == "short"
    assert excerpt("first\nsecond needle\nthird", "NEEDLE") == "…second needle\nthird"
    assert excerpt(whole, "") == "a" * 320 + "…"
