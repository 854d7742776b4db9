"""kill -9 of the verifier service in the middle of a batch: sent again, every answer is graded, once, in the end."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.server import MeshServer
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, rollout_pb2, verifier_pb2, verifier_pb2_grpc
from tests.e2e.verifier_process import VerifierProcess, verifier_process

GENERATOR = Identity("generator", "generator-0")
DEADLINE = 60.0
CORRECT, INCORRECT = rollout_pb2.VERDICT_STATUS_CORRECT, rollout_pb2.VERDICT_STATUS_INCORRECT


class Directory(controller_pb2_grpc.ControllerServiceServicer):
    """Names the verifier of the moment."""

    def __init__(self) -> None:
        self.address = ""

    async def FindMembers(self, request: Any, context: Any) -> controller_pb2.FindMembersResponse:
        state = common_pb2.SERVICE_STATE_SERVING
        member = controller_pb2.Member(service_id="verifier-0", address=self.address, state=state)
        return controller_pb2.FindMembersResponse(members=[member] if self.address else [])


def batch() -> verifier_pb2.VerifyRequest:
    """Cheap answers and such that need a worker, each with its own number, right and wrong in turn."""
    items = []
    for index in range(40):
        sign = "+" if index % 2 == 0 else "-"
        said = rf"\boxed{{{index}(1{sign}\sqrt2)}}" if index % 4 < 2 else rf"\boxed{{{index + index % 2}}}"
        gold = rf"{index}\sqrt{{3+2\sqrt2}}" if index % 4 < 2 else str(index)
        items.append(verifier_pb2.VerifyItem(response=said, gold_answers=[gold]))
    return verifier_pb2.VerifyRequest(items=items)


def stub_of(channel: Any) -> "verifier_pb2_grpc.VerifierServiceAsyncStub":
    stub: verifier_pb2_grpc.VerifierServiceAsyncStub = verifier_pb2_grpc.VerifierServiceStub(channel)
    return stub


CHEAP = verifier_pb2.VerifyRequest(items=[verifier_pb2.VerifyItem(response="\\boxed{1}", gold_answers=["1"])])


def hold_workers(service: VerifierProcess) -> None:
    for worker in service.workers:
        os.kill(worker, signal.SIGSTOP)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are watched in /proc: run on Linux")
async def test_every_answer_is_graded_once_after_a_kill_of_the_service(tmp_path: Path) -> None:
    directory = Directory()  # type: ignore[abstract]  # the others answer UNIMPLEMENTED, as they should
    controller = MeshServer("127.0.0.1:0")
    controller.add(
        controller_pb2_grpc.add_ControllerServiceServicer_to_server, directory, "areal_mesh.v1.ControllerService"
    )
    members = Members(f"127.0.0.1:{await controller.start()}", GENERATOR)
    request = batch()
    attempts: list[str] = []
    sent = asyncio.Event()

    async def send(channel: Any, seconds: float) -> verifier_pb2.VerifyResponse:
        attempts.append(directory.address)
        call = stub_of(channel).Verify(request, timeout=seconds)
        # Answered on the same connection after the batch was taken, whose algebra waits in workers that stand still.
        if len(attempts) == 1:
            await stub_of(channel).Verify(CHEAP, timeout=seconds)
            assert not call.done()
            sent.set()
        return await call

    try:
        async with asyncio.timeout(DEADLINE), asyncio.TaskGroup() as tasks:
            with verifier_process(tmp_path, workers=2, answer_seconds=30.0) as first:
                directory.address = first.address
                hold_workers(first)
                graded = tasks.create_task(members.call("verifier", send, Patience(DEADLINE)))
                await sent.wait()
                first.process.kill()
                first.process.wait(10)
                with verifier_process(tmp_path, workers=2) as second:
                    directory.address = second.address
                    verdicts = (await graded).verdicts
    finally:
        await members.close()
        await controller.stop(0)
    assert [verdict.status for verdict in verdicts] == [CORRECT, INCORRECT] * 20
    assert attempts[0] == first.address
    assert attempts[-1] == second.address != first.address
    assert not [worker for worker in first.workers if not gone(worker)], "workers of the killed service live on"


def gone(process: int) -> bool:
    """Whether a process has ended, or ended and was not reaped."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] in "ZX"
