"""Which segments may go."""

from areal_mesh.replay.retention import Retention


def test_a_segment_goes_once_its_groups_have_ended() -> None:
    retention = Retention()
    retention.store(1, "a")
    retention.store(1, "b")
    retention.store(2, "c")
    retention.end("a")
    assert retention.first_deletable(0) is None
    retention.end("b")
    assert retention.first_deletable(0) == 1
    assert retention.group_ids(1) == ("a", "b")


def test_a_decision_holds_its_segment_until_its_step_is_released() -> None:
    retention = Retention()
    retention.hold(1, 5)
    retention.hold(1, 4)
    retention.hold(2, 0)
    assert retention.first_deletable(4) is None
    assert retention.first_deletable(5) == 1


def test_segments_go_oldest_first() -> None:
    retention = Retention()
    retention.store(1, "waits")
    retention.store(2, "ended")
    retention.store(3, "newer")
    retention.end("ended")
    assert retention.first_deletable(0) is None
    retention.end("waits")
    assert retention.first_deletable(0) == 1
    retention.forget(1)
    assert retention.first_deletable(0) == 2


def test_the_newest_segment_stays() -> None:
    retention = Retention()
    retention.store(1, "a")
    retention.end("a")
    assert retention.first_deletable(9) is None
