"""Publishing: whom a version goes to, who is to blame, whether digests agree."""

from areal_mesh.controller.publish.policy import (
    Backoff,
    Cause,
    Failure,
    GeneratorWeights,
    Versions,
    blamed,
    disagreement,
    ranks_of,
    receivers,
    unrecorded_version,
)


def generators(*versions: int) -> list[GeneratorWeights]:
    return [GeneratorWeights(f"g{index}", version, 1) for index, version in enumerate(versions)]


def keys(generators: list[GeneratorWeights]) -> list[str]:
    return [generator.key for generator in generators]


def test_the_start_weights_go_to_every_newcomer() -> None:
    assert keys(receivers(Versions(0, -1, 0, due=True), generators(-1, -1))) == ["g0", "g1"]


def test_a_due_version_goes_to_those_that_lack_it() -> None:
    assert keys(receivers(Versions(5, 4, 5, due=True), generators(4, 5, -1))) == ["g0", "g2"]


def test_a_version_that_is_not_due_waits() -> None:
    assert receivers(Versions(5, 4, 5, due=False), generators(4, 4)) == []


def test_a_newcomer_gets_the_learners_version_though_nothing_is_due() -> None:
    assert keys(receivers(Versions(4, 4, 4, due=False), generators(4, -1))) == ["g1"]
    assert keys(receivers(Versions(5, 4, 5, due=False), generators(4, -1))) == ["g0", "g1"], "nobody is left behind"


def test_a_learner_that_came_back_older_publishes_nothing_until_it_has_caught_up() -> None:
    assert receivers(Versions(5, 5, 3, due=False), generators(5, -1)) == []
    assert keys(receivers(Versions(5, 5, 5, due=False), generators(5, -1))) == ["g1"]
    assert keys(receivers(Versions(6, 5, 6, due=True), generators(5, -1))) == ["g0", "g1"]


def test_a_version_that_is_not_committed_yet_is_wanted_by_nobody() -> None:
    assert receivers(Versions(4, 4, 5, due=False), generators(4)) == []


def test_weights_that_were_never_compared_are_sent_again() -> None:
    unverified = GeneratorWeights("g0", 5, 1, verified=False)
    assert receivers(Versions(5, 4, 5, due=True), [unverified]) == [unverified]
    assert receivers(Versions(5, 4, 5, due=False), [unverified]) == [unverified], "it does not wait for the pacing"
    assert receivers(Versions(6, 5, 6, due=False), [unverified]) == [unverified], "the learner has gone on"
    assert receivers(Versions(5, 5, 5, due=False), generators(5)) == []


def test_a_learner_behind_unverified_weights_leaves_them_until_it_has_caught_up() -> None:
    assert receivers(Versions(5, 4, 4, due=True), [GeneratorWeights("g0", 5, 1, verified=False)]) == []


def test_without_a_learner_nothing_is_published() -> None:
    assert receivers(Versions(5, 4, None, due=True), generators(4)) == []


def test_a_publish_that_was_not_recorded_is_witnessed_by_who_holds_it() -> None:
    assert unrecorded_version(Versions(5, 4, 5, due=True), generators(5, 5)) == 5
    assert unrecorded_version(Versions(5, 4, None, due=True), generators(5, 4)) == 5
    assert unrecorded_version(Versions(5, 5, 5, due=False), generators(5)) is None
    assert unrecorded_version(Versions(5, 4, 5, due=True), generators(9)) is None, "never committed"


def test_when_a_process_is_gone_its_peers_are_not_to_blame() -> None:
    gone = Failure("g0", "transfer", Cause.GONE, "")
    silent = Failure("g1", "transfer", Cause.SILENT, "")
    refused = Failure("g2", "transfer", Cause.REFUSED, "connection closed by peer")
    assert blamed([refused, silent, gone]) == {"g0"}
    assert blamed([refused, silent]) == {"g1"}
    assert blamed([refused]) == {"g2"}
    assert blamed([]) == set()


def test_ranks_follow_the_learner_and_make_room_for_every_worker() -> None:
    assert ranks_of([GeneratorWeights("a", 0, 2), GeneratorWeights("b", 0, 1), GeneratorWeights("c", 0, 4)]) == {
        "a": 1,
        "b": 3,
        "c": 4,
    }


def test_digests_agree_by_tensor_name() -> None:
    expected = {"tp0:w": "1", "tp0:b": "2"}
    assert disagreement(expected, [dict(expected), dict(expected)]) is None
    assert "tp0:b: 3 instead of 2" in (disagreement(expected, [dict(expected), {"tp0:w": "1", "tp0:b": "3"}]) or "")
    assert "no worker holds 1" in (disagreement(expected, [{"tp0:w": "1"}]) or "")
    assert "holds none" in (disagreement(expected, [{}]) or "")
    assert disagreement(expected, []) is not None
    assert "learner sent no digests" in (disagreement({}, [expected]) or "")


def test_shards_of_a_tensor_are_compared_where_they_are() -> None:
    expected = {"tp0:w": "1", "tp1:w": "2"}
    assert disagreement(expected, [{"tp0:w": "1"}, {"tp1:w": "2"}]) is None
    assert "worker 1" in (disagreement(expected, [{"tp0:w": "1"}, {"tp1:w": "1"}]) or "")


def test_who_fails_rests_twice_as_long_each_time_up_to_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.failed("g0", 100.0) for _ in range(7)] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert backoff.left_out("g0", 159.0)
    assert not backoff.left_out("g0", 161.0)
    assert backoff.next_return(150.0) == 10.0
    backoff.succeeded("g0")
    assert not backoff.left_out("g0", 101.0)
    assert backoff.failed("g0", 200.0) == 2.0
