"""Time to reward: what is counted until a running accuracy is there, on both sides alike."""

import json

import pytest

from benchmarks.learning import Curves, figures
from benchmarks.learning_curves import Batch, CpuClock, Reached, first_reached, middle, running_accuracy
from benchmarks.trl_side import TrlSetting, read_lines


def batches(*correct: float, completions: int = 256) -> list[Batch]:
    return [Batch(10.0 + number, completions, 100, share) for number, share in enumerate(correct, start=1)]


def test_the_running_accuracy_is_of_the_last_completions_that_fill_the_window() -> None:
    assert running_accuracy(batches(0.0, 0.5, 1.0), window=512) == [None, 0.25, 0.75]
    assert running_accuracy([Batch(1, 100, 1, 0.0), Batch(2, 300, 1, 1.0)], window=400) == [None, 0.75]


def test_an_accuracy_is_reached_with_all_that_was_spent_until_then() -> None:
    reached = first_reached(batches(0.2, 0.8, 1.0, 1.0), 0.9, began=10.0, cpu=CpuClock())
    assert reached == Reached(seconds=3.0, cpu_seconds=0.0, completions=768, tokens=300)
    assert first_reached(batches(0.2, 0.8), 0.9, 10.0, CpuClock()) is None


def test_a_median_needs_every_seed_to_have_got_there() -> None:
    first, second, third = (Reached(seconds, 1.0, 1.0, 1.0) for seconds in (3.0, 1.0, 2.0))
    assert middle([first, second, third]) == Reached(2.0, 1.0, 1.0, 1.0)
    assert middle([first, None, third]) is None


def test_the_mesh_is_compared_with_the_best_of_trl() -> None:
    mesh, slow, quick = Reached(40.0, 1, 600, 1), Reached(200.0, 1, 1000, 1), Reached(100.0, 1, 1200, 1)
    curves: Curves = {
        "mesh": [{0.9: mesh}],
        "TRL 16x8@1e-4": [{0.9: slow}],
        "TRL 8x8@1e-4": [{0.9: quick}],
        "TRL 4x4@1": [{0.9: None}],
    }
    assert figures(curves) == ["figure: seconds_over_trl 0.400", "figure: completions_over_trl 0.600"]
    quicker = Reached(10.0, 1, 100, 1)
    assert figures({**curves, "mesh, grpo": [{0.9: quicker}]}) == figures(curves), "the trial as it is, and no other"
    assert figures({"mesh": [{0.9: None}], "TRL 16x8@1e-4": [{0.9: slow}]}) == []


@pytest.mark.parametrize("text", ["16x8@0.0001", "16x8@0.0001/2"])
def test_a_setting_of_trl_is_written_as_it_is_read(text: str) -> None:
    assert str(TrlSetting.parse(text)) == text


def test_a_setting_of_trl_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="'16 by 8': write PROMPTSxRESPONSES@RATE"):
        TrlSetting.parse("16 by 8")


def test_lines_of_trl_itself_are_passed_over() -> None:
    batch = {"at": 12.0, "completions": 128, "tokens": 5000, "correct": 0.25}
    lines = ["Loading weights: 100%", json.dumps({"began": 10.0}), json.dumps(batch), "{'train_runtime': 1.0}"]
    assert read_lines(lines) == (10.0, [Batch(12.0, 128, 5000, 0.25)])
