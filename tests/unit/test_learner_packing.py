"""Each invariant that `packing` lists."""

from itertools import chain, combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.learner.batches.packing import (
    Responses,
    cut_minibatches,
    level,
    pack,
    partition,
    plan_step,
    split,
)

lengths_of_batch = st.lists(st.integers(2, 400), min_size=1, max_size=60)
budget = st.integers(50, 600)
PARITY = 300


def responses_of(lengths: list[int]) -> Responses:
    """Keys that tell responses of equal length apart."""
    return Responses(lengths, list(range(len(lengths))), PARITY)


def plan(lengths: list[int], parts: int, room: int, rank: int = 0, ranks: int = 1) -> list[list[tuple[int, ...]]]:
    return plan_step(responses_of(lengths), range(len(lengths)), parts, room, rank, ranks)


@given(lengths_of_batch, st.integers(1, 6), budget, st.integers(1, 4))
def test_every_response_is_trained_on_exactly_once(lengths: list[int], parts: int, room: int, ranks: int) -> None:
    plans = [plan(lengths, parts, room, rank, ranks) for rank in range(ranks)]
    seen = [index for one in plans for minibatch in one for micro_batch in minibatch for index in micro_batch]
    assert sorted(seen) == list(range(len(lengths)))


@given(lengths_of_batch, budget, st.data())
def test_what_is_not_trained_on_is_in_no_micro_batch(lengths: list[int], room: int, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, len(lengths) - 1), min_size=1))
    found = plan_step(responses_of(lengths), sorted(chosen), 4, room)
    assert {index for minibatch in found for micro_batch in minibatch for index in micro_batch} == chosen


@given(lengths_of_batch, st.integers(1, 6))
def test_parts_differ_by_at_most_the_longest_response(lengths: list[int], parts: int) -> None:
    responses = responses_of(lengths)
    tokens = [responses.tokens(part) for part in cut_minibatches(responses, range(len(lengths)), parts)]
    assert max(tokens) - min(tokens) <= max(lengths)
    costs = [sum(responses.cost(index) for index in part) for part in split(responses, range(len(lengths)), parts)]
    assert max(costs) - min(costs) <= max(responses.cost(index) for index in range(len(lengths))) + 1e-6


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(2, 400)), min_size=1, max_size=60), st.integers(1, 12))
def test_a_group_stays_in_one_minibatch_and_minibatches_are_of_equal_tokens(
    grouped: list[tuple[int, int]], parts: int
) -> None:
    groups, lengths = [group for group, _ in grouped], [length for _, length in grouped]
    responses = Responses(lengths, list(range(len(lengths))), PARITY, groups)
    found = cut_minibatches(responses, range(len(lengths)), parts)
    assert sorted(chain.from_iterable(found)) == list(range(len(lengths)))
    assert len(found) == min(parts, len(set(groups)))
    assert sum(len({groups[index] for index in part}) for part in found) == len(set(groups))
    whole = [sum(length for group, length in grouped if group == one) for one in set(groups)]
    tokens = [responses.tokens(part) for part in found]
    assert max(tokens) - min(tokens) <= max(whole)


def test_groups_are_cut_alike_whatever_their_numbers_and_order() -> None:
    lengths, groups = [9, 4, 9, 4, 7, 7], [0, 0, 1, 1, 2, 2]
    one = cut_minibatches(Responses(lengths, [5, 4, 3, 2, 1, 0], PARITY, groups), range(6), 2)
    moved = [4, 5, 2, 3, 0, 1]
    numbered = Responses([lengths[at] for at in moved], [5 - at for at in moved], PARITY, [7, 7, 3, 3, 1, 1])
    other = cut_minibatches(numbered, range(6), 2)
    assert [[moved[index] for index in part] for part in other] == [list(part) for part in one]


@given(lengths_of_batch, st.integers(1, 90))
def test_no_minibatch_is_empty(lengths: list[int], parts: int) -> None:
    found = plan(lengths, parts, 1000)
    assert len(found) == min(parts, len(lengths))
    assert all(any(micro_batch for micro_batch in minibatch) for minibatch in found)


@given(lengths_of_batch, st.integers(1, 3), budget, st.integers(1, 3))
def test_a_micro_batch_keeps_the_budget_or_is_one_long_response(
    lengths: list[int], parts: int, room: int, ranks: int
) -> None:
    for rank in range(ranks):
        for micro_batch in chain.from_iterable(plan(lengths, parts, room, rank, ranks)):
            assert len(micro_batch) <= 1 or sum(lengths[index] for index in micro_batch) <= room


@given(lengths_of_batch, budget)
def test_there_are_as_many_micro_batches_as_first_fit_needs_and_no_two_of_its_would_fit_into_one(
    lengths: list[int], room: int
) -> None:
    packed = pack(responses_of(lengths), range(len(lengths)), room)
    assert len(plan(lengths, 1, room)[0]) == len(packed)
    sums = [sum(lengths[index] for index in part) for part in packed]
    assert all(one + other > room for one, other in combinations(sums, 2))


@given(lengths_of_batch, st.integers(1, 5), budget, st.integers(2, 4))
def test_every_rank_makes_the_same_number_of_passes(lengths: list[int], parts: int, room: int, ranks: int) -> None:
    plans = [plan(lengths, parts, room, rank, ranks) for rank in range(ranks)]
    assert len({tuple(len(minibatch) for minibatch in one) for one in plans}) == 1


@given(lengths_of_batch, budget, st.integers(0, 9))
def test_levelling_loses_and_invents_no_response(lengths: list[int], room: int, more: int) -> None:
    responses = responses_of(lengths)
    packed = pack(responses, range(len(lengths)), room)
    evened = level(responses, packed, len(packed) + more, room)
    assert sorted(chain.from_iterable(evened)) == list(range(len(lengths)))
    assert len(evened) == len(packed) + more


@given(lengths_of_batch, budget, st.randoms(use_true_random=False))
def test_permuted_responses_are_cut_alike(lengths: list[int], room: int, random: object) -> None:
    order = list(range(len(lengths)))
    random.shuffle(order)  # type: ignore[attr-defined]
    straight = plan_step(responses_of(lengths), range(len(lengths)), 4, room, 1, 2)
    moved = Responses([lengths[place] for place in order], order, PARITY)
    permuted = plan_step(moved, range(len(lengths)), 4, room, 1, 2)
    named = [[tuple(order[index] for index in micro_batch) for micro_batch in minibatch] for minibatch in permuted]
    assert named == straight


def test_packing_is_first_fit_decreasing() -> None:
    assert pack(responses_of([3, 7, 5, 5, 2, 11]), range(6), 10) == [(5,), (1, 0), (2, 3), (4,)]


def test_differencing_finds_what_longest_first_misses() -> None:
    # Longest first, each to the lightest part: 8 + 5 + 4 against 7 + 6.
    sums = sorted(sum((8, 7, 6, 5, 4)[position] for position in part) for part in partition([8, 7, 6, 5, 4], 2))
    assert sums == [14, 16]


def test_shares_are_of_equal_cost_where_tokens_would_mislead() -> None:
    lengths = [600] * 2 + [100] * 12
    shares = split(responses_of(lengths), range(14), 2)
    assert [sorted(lengths[index] for index in share)[-1] for share in shares] == [600, 600]
    alone = split(responses_of([1200] + [100] * 12), range(13), 2)
    assert sorted(map(len, alone)) == [1, 12]


@pytest.mark.parametrize(("lengths", "minibatches", "room"), [([], 4, 10), ([3], 0, 10), ([3], 1, 0)])
def test_nonsense_is_refused(lengths: list[int], minibatches: int, room: int) -> None:
    with pytest.raises(ValueError, match=r"at least 1|no responses"):
        plan(lengths, minibatches, room)
