"""A hostile or broken generator: each thing it may send wrong is refused by its field, and nothing enters the buffer.

A row each: wrong shapes, lengths that disagree, numbers that are none, versions from the future, somebody else's lease.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.errors import status_details
from areal_mesh.runtime.groups import encode_float32, encode_int32, payload_crc32c
from areal_mesh.runtime.identity import Identity
from areal_mesh.v1 import controller_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS, STORED
from tests.integration.replay_callers import TIMEOUT, append, code_of, draw, ids, make_group, serving
from tests.integration.replay_peers import leased

INVALID, DENIED = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED
Change = Callable[[rollout_pb2.Group], Any]
TOKENS = 32  # two responses of 16


def setting(name: str, value: Any) -> Change:
    return lambda group: setattr(group, name, value)


def of_response(name: str, value: Any) -> Change:
    return lambda group: setattr(group.responses[1], name, value)


def spans(*given: tuple[int, int, int]) -> Change:
    def change(group: rollout_pb2.Group) -> None:
        del group.responses[1].version_spans[:]
        for version, start, end in given:
            group.responses[1].version_spans.add(policy_version=version, start=start, end=end)

    return change


def uneven(group: rollout_pb2.Group) -> None:
    group.responses[0].length, group.responses[1].length = 17, 15


def log_probs(last: float) -> Change:
    return setting("behaviour_log_probs", encode_float32([*[-1.0] * (TOKENS - 1), last]))


ROWS: dict[str, tuple[Change, str]] = {
    "shape: no responses": (lambda group: group.ClearField("responses"), "group.responses"),
    "shape: half a token": (setting("response_token_ids", b"123" * TOKENS), "group.response_token_ids"),
    "shape: half a log-probability": (setting("behaviour_log_probs", b"12345"), "group.behaviour_log_probs"),
    "shape: half a prompt token": (setting("prompt_token_ids", b"12345"), "group.prompt_token_ids"),
    "shape: no prompt": (setting("prompt_token_ids", b""), "group.prompt_token_ids"),
    "length: a token too few": (setting("response_token_ids", encode_int32([1] * 31)), "group.response_token_ids"),
    "length: a token too many": (setting("response_token_ids", encode_int32([1] * 33)), "group.response_token_ids"),
    "length: a log-probability too few": (
        setting("behaviour_log_probs", encode_float32([-1.0] * 31)),
        "group.behaviour_log_probs",
    ),
    "length: a response says more": (of_response("length", 17), "group.response_token_ids"),
    "length: over its limit": (uneven, "group.responses[0].version_spans"),
    "length: spans end early": (spans((0, 0, 15)), "group.responses[1].version_spans"),
    "length: spans leave a gap": (spans((0, 0, 8), (1, 9, 16)), "group.responses[1].version_spans[1]"),
    "length: spans overlap": (spans((0, 0, 8), (1, 7, 16)), "group.responses[1].version_spans[1]"),
    "number: NaN": (log_probs(math.nan), "group.behaviour_log_probs"),
    "number: minus infinity": (log_probs(-math.inf), "group.behaviour_log_probs"),
    "number: a probability over 1": (log_probs(0.5), "group.behaviour_log_probs"),
    "number: a reward that is none": (
        lambda group: setattr(group.responses[0].verdict, "reward", math.nan),
        "group.responses[0].verdict.reward",
    ),
    "number: a token outside": (setting("response_token_ids", encode_int32([1000] * 32)), "group.response_token_ids"),
    "number: a negative token": (setting("response_token_ids", encode_int32([-1] * 32)), "group.response_token_ids"),
    "version: from the future": (spans((1001, 0, 16)), "group.responses"),
    "version: falling": (spans((3, 0, 8), (2, 8, 16)), "group.responses[1].version_spans[1].policy_version"),
    "version: negative": (spans((-1, 0, 16)), "group.responses[1].version_spans[0].policy_version"),
    "lease: another group's": (setting("group_id", "g2"), "lease_seal"),
    "lease: another prompt": (setting("prompt_id", "an easier one"), "lease_seal"),
    "lease: another place in the order": (setting("sequence", 99), "lease_seal"),
    "lease: more tokens": (lambda group: setattr(group.stage, "max_response_tokens", 100_000), "lease_seal"),
}


@pytest.mark.parametrize("row", ROWS)
async def test_what_a_generator_appends_is_refused_by_its_field(
    tmp_path: Path, row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("areal_mesh.runtime.standing.NEWS_SECONDS", 0.2)
    change, field = ROWS[row]
    request = leased(make_group("g1"))
    change(request.group)
    # The sender is not so broken that its checksum would tell.
    request.group.crc32c = payload_crc32c(request.group)
    async with serving(tmp_path) as callers:
        code, error = await code_of(callers.generator.AppendGroup(request, timeout=TIMEOUT))
        assert (code, status_details(error)[0].field_violations[0].field) == (INVALID, field)
        assert await append(callers, make_group("g1")) == [False], "nothing of it entered: the id is free"
        _, drawn = await draw(callers, 1, 1)
        assert ids(drawn) == ["g1"]


@pytest.mark.parametrize("role", ["client", "verifier", "learner"])
async def test_nobody_but_a_generator_appends(tmp_path: Path, role: str) -> None:
    async with serving(tmp_path) as callers:
        address = callers.address
        async with open_channel(address, Identity(role, f"{role}-0"), "bulk") as channel:
            stub: Any = replay_pb2_grpc.ReplayServiceStub(channel)
            code, _ = await code_of(stub.AppendGroup(leased(make_group("g1")), timeout=TIMEOUT))
            assert code is DENIED
        assert (await statistics(callers)).waiting_groups == 0


async def statistics(callers: Any) -> replay_pb2.GetReplayStatisticsResponse:
    request = replay_pb2.GetReplayStatisticsRequest(policy_version=0)
    answer: replay_pb2.GetReplayStatisticsResponse = await callers.controller.GetReplayStatistics(
        request, timeout=TIMEOUT
    )
    return answer


ENDS = [STORED, controller_pb2.LEASE_END_FILTERED, controller_pb2.LEASE_END_FAILED, controller_pb2.LEASE_END_RETURNED]


async def test_the_lease_of_another_is_not_ended_and_no_figure_beyond_it_is_believed(tmp_path: Path) -> None:
    running = controller(settings_in(tmp_path, {"lease_seconds": 5}))
    async with running as (_, address), AsyncExitStack() as stack:
        mesh = Mesh(stack)
        await mesh.learner(address)
        owner, thief = await asyncio.gather(mesh.generator(address), mesh.generator(address, "generator-1"))
        group_id = (await owner.lease(most=1)).leases[0].group_id
        claim: dict[str, Any] = {"group_id": group_id, "response_tokens": 32}
        for end in ENDS:
            stolen = controller_pb2.EndLeaseRequest(**claim, **thief.me(), end=end)
            code, error = await code_of(thief.stub.EndLease(stolen, timeout=SECONDS))
            assert (code, "group_id: " in str(error.details())) == (DENIED, True), end
        bad: dict[str, Any] = {"end": STORED, **owner.me()}
        for change, field in (
            ({"response_tokens": 10**6}, "response_tokens"),
            ({"oldest_policy_version": 500}, "oldest_policy_version"),
        ):
            request = controller_pb2.EndLeaseRequest(**claim | bad | change)
            code, error = await code_of(owner.stub.EndLease(request, timeout=SECONDS))
            assert (code, status_details(error)[0].field_violations[0].field) == (INVALID, field)
        beat = controller_pb2.HeartbeatRequest(**owner.me(), policy_version=500, state=3)  # type: ignore[arg-type]
        code, error = await code_of(owner.stub.Heartbeat(beat, timeout=SECONDS))
        assert (code, status_details(error)[0].field_violations[0].field) == (INVALID, "policy_version")
        groups = (await mesh.status(address)).groups
        assert (groups.open, groups.filtered, groups.failed, groups.stale) == (groups.leased, 0, 0, 0)
        await owner.stub.EndLease(controller_pb2.EndLeaseRequest(**claim | bad), timeout=SECONDS)
