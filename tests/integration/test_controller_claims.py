"""What members claim to a controller: believed as far as the run can know it, also after a restart. Over real gRPC."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from areal_mesh.controller import membership
from areal_mesh.runtime.errors import MeshError
from areal_mesh.v1 import common_pb2, controller_pb2
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS, STORED

INVALID = grpc.StatusCode.INVALID_ARGUMENT
REFUSED = grpc.StatusCode.FAILED_PRECONDITION


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value.code()


async def test_figures_that_a_group_cannot_have_are_refused_and_a_restart_starts(tmp_path: Path, mesh: Mesh) -> None:
    settings = settings_in(tmp_path, {"lease_seconds": 2})
    async with controller(settings) as (_, address):
        await mesh.learner(address)
        generator = await mesh.generator(address)
        held = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        sound = {**generator.me(), "group_id": held[0], "end": STORED, "response_tokens": 32}
        for change in (
            {"response_tokens": 65},
            {"response_tokens": 2**63 - 1},
            {"oldest_policy_version": 7},
            {"oldest_policy_version": -1},
        ):
            request = controller_pb2.EndLeaseRequest(**sound | change)
            assert await code_of(generator.stub.EndLease(request, timeout=SECONDS)) is INVALID, change
        other = await mesh.generator(address, "generator-1")
        foreign = controller_pb2.EndLeaseRequest(**sound | other.me())
        assert await code_of(other.stub.EndLease(foreign, timeout=SECONDS)) is grpc.StatusCode.PERMISSION_DENIED
        await generator.stub.EndLease(controller_pb2.EndLeaseRequest(**sound), timeout=SECONDS)
        stranger = controller_pb2.EndLeaseRequest(**sound | {"service_id": "nobody"})
        assert await code_of(generator.stub.EndLease(stranger, timeout=SECONDS)) is grpc.StatusCode.NOT_FOUND
        assert (await mesh.status(address)).tokens_generated == 32
    async with controller(settings) as (_, address):
        assert (await mesh.status(address)).tokens_generated == 32


async def test_a_second_learner_and_a_name_of_another_role_have_no_place(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (service, address):
        learner = await mesh.learner(address)
        for name, role in (("learner-2", common_pb2.ROLE_LEARNER), ("learner", common_pb2.ROLE_VERIFIER)):
            request = controller_pb2.RegisterRequest(
                service_id=name, incarnation="x", role=role, address="127.0.0.1:1", policy_version=-1
            )
            taken = await code_of(learner.stub.Register(request, timeout=SECONDS))
            assert taken is grpc.StatusCode.ALREADY_EXISTS
        assert list(service._ledger.member_starts()) == ["learner"], "nothing is written of those refused"
        commit = controller_pb2.CommitStepRequest(
            service_id="learner-2", incarnation="x", step=1, policy_version=1, group_ids=["g00000000", "g00000001"]
        )
        assert await code_of(learner.stub.CommitStep(commit, timeout=SECONDS)) is grpc.StatusCode.NOT_FOUND


async def test_a_batch_of_another_size_is_not_committed(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        held = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        for group_ids in ([held[0]], [held[0], held[0]], [*held, "g00000009"]):
            assert await code_of(learner.commit(1, group_ids)) is INVALID
            learner.version = 0
        assert (await mesh.status(address)).step == 0


async def test_versions_that_were_never_made_and_fresh_groups_are_not_believed(tmp_path: Path, mesh: Mesh) -> None:
    async with controller(settings_in(tmp_path)) as (_, address):
        learner = await mesh.learner(address)
        generator = await mesh.generator(address)
        held = [lease.group_id for lease in (await generator.lease(most=2)).leases]
        beat = controller_pb2.HeartbeatRequest(**generator.me(), policy_version=2**31 - 1)
        assert await code_of(generator.stub.Heartbeat(beat, timeout=SECONDS)) is INVALID
        report = {**learner.me(), "group_ids": held}
        late = controller_pb2.ReportStaleRequest(**report, policy_version=50)
        assert await code_of(learner.stub.ReportStale(late, timeout=SECONDS)) is INVALID
        now = controller_pb2.ReportStaleRequest(**report, policy_version=0)
        await learner.stub.ReportStale(now, timeout=SECONDS)
        assert (await mesh.status(address)).groups.stale == 0


async def test_members_and_calls_that_wait_are_bounded(
    tmp_path: Path, mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "MOST_MEMBERS", 3)
    async with controller(settings_in(tmp_path)) as (service, address):
        await mesh.learner(address)
        generator = await mesh.generator(address)
        await mesh.generator(address, "generator-1")
        full = controller_pb2.RegisterRequest(
            service_id="v", incarnation="x", role=common_pb2.ROLE_VERIFIER, address="127.0.0.1:1", policy_version=-1
        )
        assert await code_of(generator.stub.Register(full, timeout=SECONDS)) is grpc.StatusCode.RESOURCE_EXHAUSTED
        waiting = service._waiting_leases
        with ExitStack() as stack:
            for _ in range(waiting.most_of_one):
                stack.enter_context(waiting.one_more("generator-0/x"))
            with pytest.raises(MeshError) as raised:
                stack.enter_context(waiting.one_more("generator-0/x"))
            assert raised.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
            stack.enter_context(waiting.one_more("generator-1/x"))
