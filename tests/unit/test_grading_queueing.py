"""The bound on what waits for grading."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.grading.workers.queueing import ItemQueue


@given(
    max_items=st.integers(1, 50),
    batches=st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.floats(0, 10)), max_size=60),
)
def test_never_more_than_the_bound_waits_and_every_admission_is_released(
    max_items: int, batches: list[tuple[int, bool, float]]
) -> None:
    queue, admitted = ItemQueue(max_items), list[int]()
    for items, release_first, seconds in batches:
        if release_first and admitted:
            queue.release(admitted.pop(0), seconds)
        if items > max_items:
            with pytest.raises(ValueError, match="smaller batches"):
                queue.admit(items)
        elif (wait := queue.admit(items)) is None:
            admitted.append(items)
        else:
            assert sum(admitted) + items > max_items
            assert 0.05 <= wait <= 5
        assert queue.waiting == sum(admitted) <= max_items


def test_the_wait_follows_how_fast_answers_are_graded() -> None:
    queue = ItemQueue(100)
    for _ in range(60):
        assert queue.admit(100) is None
        queue.release(100, 1.0)
    assert queue.admit(100) is None
    assert queue.admit(50) == pytest.approx(0.5, rel=0.05)
