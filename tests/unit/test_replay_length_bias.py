"""The lengths of a real run, on the real admission and the real drawing: what is trained is what was leased."""

import pytest

from areal_mesh.replay.drawing import GroupLedger
from areal_mesh.runtime.settings import ReplaySettings
from benchmarks.simulated_lengths import ArrivalOrder, Outcome, Workload, mean, simulate

WORKLOAD = Workload(batch_groups=16, responses=4, steps=40, generators=2, slots=64)
PATIENCE = ReplaySettings().patience_seconds


def check_books(outcome: Outcome, bound: int) -> None:
    trained = WORKLOAD.steps * WORKLOAD.batch_groups
    assert len(outcome.trained) == trained
    # What is open at the end is at most what the bound lets run ahead.
    assert 0 <= len(outcome.leased) - trained - len(outcome.stale) <= bound * WORKLOAD.batch_groups
    assert outcome.staleness <= bound


def test_the_simulated_lengths_have_a_heavy_tail() -> None:
    lengths = sorted(length for sequence in range(2000) for length in WORKLOAD.lengths(sequence))
    assert lengths[-1] == WORKLOAD.limit
    assert sum(lengths[-len(lengths) // 10 :]) > 0.25 * sum(lengths), "a tenth of them has a quarter of the tokens"


@pytest.mark.parametrize("bound", [0, 1, 2, 4])
def test_the_mean_length_of_what_is_trained_is_that_of_what_was_leased(bound: int) -> None:
    waiting = simulate(WORKLOAD, bound, GroupLedger(), PATIENCE)
    by_arrival = simulate(WORKLOAD, bound, ArrivalOrder(), 0.0)
    for name, outcome in (("by deadline", waiting), ("by arrival", by_arrival)):
        print(
            f"bound {bound}, drawn {name}: leased {mean(outcome.leased):.0f} tokens a group, "
            f"trained {mean(outcome.trained):.0f} ({outcome.bias:+.2%}), {len(outcome.stale)} stale"
        )
        check_books(outcome, bound)
    assert abs(waiting.bias) < 0.01
    if bound:
        assert by_arrival.bias < -0.1, "the tail is heavy enough to tell"


def test_what_patience_does_not_wait_for_is_dropped_and_longer_than_the_rest() -> None:
    outcome = simulate(WORKLOAD, 1, GroupLedger(), 60.0)
    check_books(outcome, 1)
    assert mean(outcome.stale) > 1.5 * mean(outcome.leased)
