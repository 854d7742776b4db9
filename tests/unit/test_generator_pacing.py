"""Pacing of the rollout loop by KV-cache use."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.generator.pacing import Pacing


@given(
    max_groups=st.integers(1, 200),
    looks=st.lists(st.tuples(st.integers(0, 200), st.floats(0, 1)), max_size=60),
)
def test_the_limit_stays_between_one_and_the_setting(max_groups: int, looks: list[tuple[int, float]]) -> None:
    pacing = Pacing.start(max_groups)
    for groups_in_flight, kv_cache_use in looks:
        pacing = pacing.observe(groups_in_flight, kv_cache_use)
        assert 1 <= pacing.limit <= max_groups
        assert pacing.room(groups_in_flight) == max(0, pacing.limit - groups_in_flight)


@given(groups=st.integers(1, 200), use=st.floats(0.95, 1), looks=st.integers(1, 20))
def test_a_full_cache_lowers_the_limit_once_until_groups_end(groups: int, use: float, looks: int) -> None:
    once = Pacing.start(200).observe(groups, use)
    again = once
    for _ in range(looks):
        again = again.observe(groups, use)
    assert again == once
    assert once.room(groups) == 0


def test_the_limit_falls_on_while_the_cache_stays_full_and_groups_end() -> None:
    pacing, groups = Pacing.start(64), 64
    for _ in range(80):
        pacing = pacing.observe(groups, 1.0)
        groups = min(groups, pacing.limit)
    assert pacing.limit == 1


def test_the_limit_rises_one_group_at_a_time_and_only_while_it_is_reached() -> None:
    lowered = Pacing(max_groups=16, limit=4)
    assert lowered.observe(3, 0.1).limit == 4
    assert lowered.observe(4, 0.1).limit == 5
    assert lowered.observe(4, 0.9).limit == 4
    assert Pacing(16, 16).observe(16, 0.0).limit == 16


def test_less_than_one_group_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one group"):
        Pacing.start(0)
