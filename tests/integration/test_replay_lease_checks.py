"""What the replay buffer takes: groups as they were leased, steps and releases as the run says. Over real gRPC.

Each refused message leaves no trace: what may be stored, drawn and released afterwards is what was before, also after
a restart.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from areal_mesh.runtime.errors import status_details
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.v1 import replay_pb2, rollout_pb2
from tests.integration.replay_callers import TIMEOUT, append, code_of, draw, ids, make_group, serving
from tests.integration.replay_peers import LEARNER, leased, standing

INVALID = grpc.StatusCode.INVALID_ARGUMENT


def field_of(error: grpc.aio.AioRpcError) -> str:
    return str(status_details(error)[0].field_violations[0].field)


def sealed_again(change: Callable[[rollout_pb2.Group], Any]) -> replay_pb2.AppendGroupRequest:
    """A group that is changed after its lease, with a checksum that fits."""
    request = leased(make_group("g1"))
    change(request.group)
    request.group.crc32c = payload_crc32c(request.group)
    return request


def tokens(*values: int) -> Callable[[rollout_pb2.Group], None]:
    def change(group: rollout_pb2.Group) -> None:
        group.response_token_ids = encode_int32([*values, *([1] * (32 - len(values)))])

    return change


def log_prob(value: float) -> Callable[[rollout_pb2.Group], None]:
    def change(group: rollout_pb2.Group) -> None:
        group.behaviour_log_probs = encode_float32([value, *([-1.0] * 31)])

    return change


def reward(value: float) -> Callable[[rollout_pb2.Group], None]:
    def change(group: rollout_pb2.Group) -> None:
        group.responses[0].verdict.reward = value

    return change


def version(value: int) -> Callable[[rollout_pb2.Group], None]:
    def change(group: rollout_pb2.Group) -> None:
        group.responses[1].version_spans[0].policy_version = value

    return change


def prompt(group: rollout_pb2.Group) -> None:
    group.prompt_token_ids = encode_int32([1] * 3000)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda group: setattr(group, "group_id", "g2"), "lease_seal"),
        (lambda group: setattr(group, "sequence", 7), "lease_seal"),
        (lambda group: setattr(group, "prompt_id", "another"), "lease_seal"),
        (lambda group: setattr(group, "temperature", 1.5), "lease_seal"),
        (lambda group: setattr(group.stage, "max_response_tokens", 100_000), "lease_seal"),
        (lambda group: group.responses.append(group.responses[0]), "lease_seal"),
        (tokens(1000), "group.response_token_ids"),
        (tokens(2**31 - 1), "group.response_token_ids"),
        (reward(1e9), "group.responses[0].verdict.reward"),
        (reward(-5.1), "group.responses[0].verdict.reward"),
        (log_prob(0.5), "group.behaviour_log_probs"),
        (prompt, "group.prompt_token_ids"),
        (version(1001), "group.responses"),
    ],
)
async def test_a_group_that_is_not_as_leased_or_cannot_be_trained_on_is_refused_and_leaves_nothing(
    tmp_path: Path, change: Callable[[rollout_pb2.Group], Any], field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 0.2)
    async with serving(tmp_path) as callers:
        code, error = await code_of(callers.generator.AppendGroup(sealed_again(change), timeout=TIMEOUT))
        assert (code, field_of(error)) == (INVALID, field)
        assert await append(callers, make_group("g1")) == [False], "the id is free still"
        _, drawn = await draw(callers, 1, 1)
        assert ids(drawn) == ["g1"]


async def test_a_response_over_the_limit_of_its_lease_is_refused(tmp_path: Path) -> None:
    group = make_group("g1", length=17)
    group.stage.max_response_tokens = 16
    async with serving(tmp_path) as callers:
        code, error = await code_of(append(callers, group))
        assert (code, field_of(error)) == (INVALID, "group.responses[0].length")


async def test_a_draw_is_the_learners_alone_and_as_the_run_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 0.2)
    said = standing(policy_version=2, batch_groups=2)
    sound: dict[str, Any] = {"step": 3, "batch_groups": 2, "policy_version": 2, "max_staleness": 1, **LEARNER}
    cases: list[tuple[dict[str, Any], grpc.StatusCode]] = [
        ({"batch_groups": 1}, INVALID),
        ({"max_staleness": 9}, INVALID),
        ({"policy_version": 50}, INVALID),
        ({"step": 40, "policy_version": 39}, grpc.StatusCode.FAILED_PRECONDITION),
        ({"incarnation": "two"}, grpc.StatusCode.ABORTED),
        ({"service_id": "learner-1"}, grpc.StatusCode.ABORTED),
    ]
    for life in range(2):
        async with serving(tmp_path) as callers:
            callers.standing.hear(said)
            if life == 0:
                await append(callers, make_group("a", version=1), make_group("b", version=2))
            for change, expected in cases:
                code, error = await code_of(
                    callers.learner.DrawBatch(replay_pb2.DrawBatchRequest(**sound | change), timeout=TIMEOUT).read()
                )
                assert code is expected, (change, error.details())
            statistics = await callers.controller.GetReplayStatistics(
                replay_pb2.GetReplayStatisticsRequest(), timeout=TIMEOUT
            )
            assert (statistics.waiting_groups, statistics.dropped["stale"]) == (2, 0)
    async with serving(tmp_path) as callers:
        _, drawn = await draw(callers, 3, 2)
        assert ids(drawn) == ["a", "b"]


async def test_only_committed_steps_are_released_and_only_real_versions_evict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 0.2)
    async with serving(tmp_path) as callers:
        await append(callers, make_group("a"), make_group("b"))
        callers.standing.hear(standing(policy_version=0))
        release = replay_pb2.ReleaseStepsRequest
        evict = replay_pb2.EvictStaleRequest
        early = grpc.StatusCode.FAILED_PRECONDITION
        cases: list[tuple[Any, Any, grpc.StatusCode]] = [
            (callers.learner.ReleaseSteps, release(step=2**62, **LEARNER), INVALID),
            (callers.learner.ReleaseSteps, release(step=1, **LEARNER), early),
            (callers.learner.ReleaseSteps, release(service_id="x", incarnation="y"), grpc.StatusCode.ABORTED),
            (callers.controller.ReleaseSteps, release(step=0, **LEARNER), grpc.StatusCode.PERMISSION_DENIED),
            (
                callers.controller.EvictStale,
                evict(policy_version=9, max_staleness=1),
                grpc.StatusCode.FAILED_PRECONDITION,
            ),
            (callers.controller.EvictStale, evict(policy_version=0, max_staleness=0), INVALID),
        ]
        for call, request, expected in cases:
            code, error = await code_of(call(request, timeout=TIMEOUT))
            assert code is expected, (request, error.details())
    async with serving(tmp_path) as callers:
        _, drawn = await draw(callers, 1, 2)
        assert ids(drawn) == ["a", "b"]


async def test_a_replay_buffer_that_never_heard_of_its_run_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 0.2)
    async with serving(tmp_path) as callers:
        callers.standing._said = None
        code, _ = await code_of(append(callers, make_group("a")))
        assert code is grpc.StatusCode.UNAVAILABLE


async def test_news_of_the_run_is_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers, asyncio.TaskGroup() as tasks:
        await append(callers, make_group("a"))
        callers.standing.hear(standing(policy_version=0))
        await draw(callers, 1, 1)
        callers.standing.hear(standing(policy_version=0))
        release = replay_pb2.ReleaseStepsRequest(step=1, **LEARNER)
        releasing = tasks.create_task(_done(callers.learner.ReleaseSteps(release, timeout=TIMEOUT)))
        callers.standing.hear(standing(policy_version=1))
        await releasing


async def _done(call: Any) -> None:
    await call


async def test_groups_set_aside_are_replaced_by_name_and_never_come_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as callers:
        await append(callers, *(make_group(name) for name in "abcd"))
        callers.standing.hear(standing(policy_version=0, batch_groups=2))
        _, drawn = await _draw_now(callers, 1)
        assert ids(drawn) == ["a", "b"]
        request = replay_pb2.SetAsideRequest(step=1, group_ids=["a"], **LEARNER)
        for _ in range(2):
            await callers.learner.SetAside(request, timeout=TIMEOUT)
        stranger = replay_pb2.SetAsideRequest(step=1, group_ids=["d"], **LEARNER)
        code, _ = await code_of(callers.learner.SetAside(stranger, timeout=TIMEOUT))
        assert code is grpc.StatusCode.FAILED_PRECONDITION
        _, drawn = await _draw_now(callers, 1)
        assert ids(drawn) == ["b", "c"], "the others keep their places"
    async with serving(tmp_path) as callers:
        callers.standing.hear(standing(policy_version=0, batch_groups=2))
        _, again = await _draw_now(callers, 1)
        assert again == drawn
        find = replay_pb2.FindGroupsRequest(group_ids=["a", "b"])
        found = await callers.controller.FindGroups(find, timeout=TIMEOUT)
        assert [(group.set_aside, group.stale) for group in found.groups] == [(True, False), (False, False)]
        assert await append(callers, make_group("a")) == [True]
        callers.standing.hear(standing(policy_version=1, batch_groups=2))
        committed = replay_pb2.SetAsideRequest(step=1, group_ids=["b"], **LEARNER)
        code, _ = await code_of(callers.learner.SetAside(committed, timeout=TIMEOUT))
        assert code is grpc.StatusCode.FAILED_PRECONDITION


async def _draw_now(callers: Any, step: int) -> Any:
    request = replay_pb2.DrawBatchRequest(
        step=step, batch_groups=2, policy_version=step - 1, max_staleness=1, **LEARNER
    )
    parts = [part async for part in callers.learner.DrawBatch(request, timeout=TIMEOUT)]
    return parts[0].header, [part.group for part in parts[1:]]
