"""Each invariant that `packing` lists."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.learner.batches.packing import balance, equalise, pack, plan_step

lengths_of_batch = st.lists(st.integers(2, 400), min_size=1, max_size=60)
budget = st.integers(50, 600)


@given(lengths_of_batch, st.integers(1, 6), budget, st.integers(1, 4))
def test_every_response_is_trained_on_exactly_once(lengths: list[int], parts: int, room: int, ranks: int) -> None:
    plans = [plan_step(lengths, range(len(lengths)), parts, room, rank, ranks) for rank in range(ranks)]
    seen = [index for plan in plans for minibatch in plan for micro_batch in minibatch for index in micro_batch]
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths_of_batch, st.integers(1, 6))
def test_parts_differ_by_at_most_the_longest_response(lengths: list[int], parts: int) -> None:
    sums = [sum(lengths[index] for index in part) for part in balance(lengths, range(len(lengths)), parts)]
    assert max(sums) - min(sums) <= max(lengths)


@given(lengths_of_batch, st.integers(1, 90))
def test_no_minibatch_is_empty(lengths: list[int], parts: int) -> None:
    plan = plan_step(lengths, range(len(lengths)), parts, 1000)
    assert len(plan) == min(parts, len(lengths))
    assert all(any(micro_batch for micro_batch in minibatch) for minibatch in plan)


@given(lengths_of_batch, budget)
def test_a_micro_batch_keeps_the_budget_or_is_one_long_response(lengths: list[int], room: int) -> None:
    for micro_batch in pack(lengths, range(len(lengths)), room):
        assert len(micro_batch) == 1 or sum(lengths[index] for index in micro_batch) <= room


@given(lengths_of_batch, budget)
def test_no_two_micro_batches_would_fit_into_one(lengths: list[int], room: int) -> None:
    sums = [sum(lengths[index] for index in part) for part in pack(lengths, range(len(lengths)), room)]
    assert all(one + other > room for one, other in combinations(sums, 2))


@given(lengths_of_batch, st.integers(1, 5), budget, st.integers(2, 4))
def test_every_rank_makes_the_same_number_of_passes(lengths: list[int], parts: int, room: int, ranks: int) -> None:
    plans = [plan_step(lengths, range(len(lengths)), parts, room, rank, ranks) for rank in range(ranks)]
    assert len({tuple(len(minibatch) for minibatch in plan) for plan in plans}) == 1


@given(st.lists(st.lists(st.lists(st.integers(0, 99), max_size=5).map(tuple), max_size=5), min_size=1, max_size=4))
def test_equalising_loses_and_invents_no_response(per_rank: list[list[tuple[int, ...]]]) -> None:
    evened = equalise(per_rank)
    for before, after in zip(per_rank, evened, strict=True):
        assert sorted(chain.from_iterable(before)) == sorted(chain.from_iterable(after))
    assert len({len(bins) for bins in evened}) == 1


@given(lengths_of_batch, budget)
def test_the_plan_is_a_function_of_the_lengths(lengths: list[int], room: int) -> None:
    every = range(len(lengths))
    assert plan_step(lengths, every, 4, room, 1, 2) == plan_step(list(lengths), list(every), 4, room, 1, 2)


@given(lengths_of_batch, budget, st.data())
def test_what_is_not_trained_on_is_in_no_micro_batch(lengths: list[int], room: int, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))
    plan = plan_step(lengths, sorted(chosen), 4, room)
    assert {index for minibatch in plan for micro_batch in minibatch for index in micro_batch} == chosen


def test_packing_is_first_fit_decreasing() -> None:
    assert pack([3, 7, 5, 5, 2, 11], range(6), 10) == [(5,), (1, 0), (2, 3), (4,)]


@pytest.mark.parametrize(("lengths", "minibatches", "room"), [([], 4, 10), ([3], 0, 10), ([3], 1, 0)])
def test_nonsense_is_refused(lengths: list[int], minibatches: int, room: int) -> None:
    with pytest.raises(ValueError, match=r"at least 1|no responses"):
        plan_step(lengths, range(len(lengths)), minibatches, room)
