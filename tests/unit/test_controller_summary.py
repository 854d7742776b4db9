"""The summary, and the lines of metrics.jsonl."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.controller.clock import Clock
from areal_mesh.controller.ledger import Ledger
from areal_mesh.controller.records import GroupCounts, PublishRow, StageEntry, StepRow
from areal_mesh.controller.run import Run
from areal_mesh.controller.sinks import MetricsFile
from areal_mesh.controller.summary import RunFacts, overlap, summarise, total, union
from areal_mesh.v1 import replay_pb2
from tests.unit.stage_support import run_of, stage

INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)).map(sorted).map(tuple), max_size=8)
KEYS = {
    "group_tokens",
    "wall_seconds", "setup_seconds", "steps", "policy_version", "tokens_generated", "tokens_trained",
    "overlap_seconds", "weight_updates", "pause_seconds", "staleness", "mismatch_kl", "groups", "reward_curve",
    "length_curve", "stages",
}  # fmt: skip


def step(number: int, stage: int, **metrics: float) -> StepRow:
    return StepRow(number, stage, metrics, {0: 1, 1: 1}, 100.0 + number, 50)


def publish(version: int, at: float) -> PublishRow:
    return PublishRow(version, at, 0.5, 0.1, 0.1, 10, ("g/a",), "agreed")


FACTS = RunFacts(
    name="run",
    config={"seed": 1},
    plans=(stage("short", 8, 10), stage("long", 16, 10)),
    prepared_seconds=7.0,
    lives=[(0.0, 60.0), (100.0, 160.0)],
    stages=[StageEntry(0, 1, 0.0, "start")],
    steps=[
        *(
            step(n, 0, reward=float(n), response_length=10.0 * n, truncated=0.1, update_started=110.0 + n * 4,
                 update_finished=112.0 + n * 4)
            for n in range(1, 8)
        ),
        step(8, 0, reward=8.0, mismatch_kl=0.002),
    ],
    publishes=[publish(0, 110.0), publish(1, 120.0)],
    counts=GroupCounts(running=1, stored=2, trained=16, stale=3, filtered=4, failed=5),
    generating=[(110.0, 115.0), (113.0, 119.0)],
    reason_tokens={},
    group_tokens={"trained": 50.0, "stale": 150.0},
    end_reasons={"filtered: prompt too long": 4, "failed: lease expired": 5},
    generated_tokens=900,
    finished=True,
    starts={"learner": 2},
)  # fmt: skip


def test_the_summary_holds_what_the_ledger_says() -> None:
    summary = summarise(FACTS)
    assert summary.keys() >= KEYS
    assert (summary["wall_seconds"], summary["setup_seconds"]) == (7.0 + 120.0, 7.0 + 70.0), (
        "time between lives is not counted"
    )
    assert summary["tokens_trained"] == 400
    assert summary["pause_seconds"] == 1.0
    assert summary["staleness"] == {"mean": 0.5, "max": 1}
    assert summary["mismatch_kl"] == 0.002, "steps that did not measure it are left out"
    assert summary["overlap_seconds"] == pytest.approx(3.0)
    assert summary["groups"] == {"trained": 16, "stale": 3, "filtered": 4, "failed": 5, "open": 3, "leased": 31}
    short, long = summary["stages"]
    assert short["reward"] == {"first": 2.5, "last": 6.5}
    assert (long["steps"], long["reward"]) == (0, {"first": None, "last": None})


def test_a_clock_set_between_two_lives_makes_no_time_of_generation() -> None:
    ten_days = 864_000.0
    lives = [(0.0, 100.0), (ten_days + 100.0, ten_days + 200.0)]
    generating = [(50.0, 60.0), (90.0, ten_days + 110.0)]
    summary = summarise(replace(FACTS, lives=lives, generating=generating))
    assert summary["generating_seconds"] == pytest.approx(10.0 + 10.0 + 10.0)


def test_a_short_stage_has_no_step_at_both_its_ends() -> None:
    three = [step(number, 0, reward=reward) for number, reward in enumerate((-5.0, 0.0, 4.0), 1)]
    (stage, _) = summarise(replace(FACTS, steps=three))["stages"]
    assert stage["reward"] == {"first": -5.0, "last": 4.0}
    (stage, _) = summarise(replace(FACTS, steps=three[:1]))["stages"]
    assert stage["reward"] == {"first": -5.0, "last": -5.0}


def test_the_summary_counts_steps_without_an_update_and_the_share_of_groups_with_equal_rewards() -> None:
    steps = [step(1, 0, optimizer_updates=4.0, equal_rewards=0.5), step(2, 0, optimizer_updates=0.0, equal_rewards=1.0)]
    summary = summarise(replace(FACTS, steps=[*steps, step(3, 0)]))
    assert (summary["steps_without_update"], summary["equal_rewards"]) == (1, 0.75)


def test_the_summary_says_what_the_learner_waited_for_the_longest_first() -> None:
    waits = {"idle_seconds_order": 0.5, "idle_seconds_rollouts": 1.0}
    steps = [step(1, 0), step(2, 0, **waits), step(3, 0, idle_seconds_rollouts=2.0)]
    summary = summarise(replace(FACTS, steps=steps))
    assert list(summary["idle_seconds"].items()) == [("rollouts", 3.0), ("order", 0.5)]


def seconds_of(intervals: list[tuple[int, int]]) -> set[int]:
    return {second for start, end in intervals for second in range(start, end)}


@given(first=INTERVALS, second=INTERVALS)
def test_overlap_is_the_time_that_lies_in_both(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    assert total(union(first)) == len(seconds_of(first))
    assert overlap(first, second) == len(seconds_of(first) & seconds_of(second))


def test_a_line_written_in_part_is_written_again_and_none_twice(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.db")
    settings = run_of(stage("short", 8, 9), batch_groups=1)
    run = Run(settings, ledger, Clock(lambda: 0.0, lambda: 0.0))
    run.published(publish(0, 0.0))
    for number in (1, 2, 3):
        run.published(publish(number - 1, 0.0))
        (row,) = run.lease("g/a", 1, str)
        run.commit(number, [row.group_id], {"reward": 1.0}, {0: 1})
    path = tmp_path / "metrics.jsonl"
    statistics = replay_pb2.GetReplayStatisticsResponse()
    first = MetricsFile(path)
    first.catch_up(run, 2, statistics)
    first.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    second = MetricsFile(path)
    assert second.written == 1
    second.catch_up(run, 2, statistics)
    assert path.read_bytes() == whole
    second.catch_up(run, 3, statistics)
    second.close()
    assert path.read_bytes().count(b"\n") == 3
    ledger.close()


def test_the_last_line_of_a_long_file_is_found_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        json.dumps({"step": number, "filling": "x" * (90_000 if number == 19 else 700)}) for number in range(1, 21)
    ]
    path.write_text("\n".join(lines) + "\n" + lines[0][:-5])
    file = MetricsFile(path)
    assert file.written == 20
    file.close()
    assert path.read_text().splitlines() == lines
    path.write_text(lines[18] + "\n" + lines[19][:-5])
    file = MetricsFile(path)
    assert file.written == 19
    file.close()
