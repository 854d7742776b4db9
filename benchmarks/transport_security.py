"""What mutual TLS costs: small unary calls and groups to the replay buffer, in plain text and over TLS in turn.

    python -m benchmarks.transport_security [--rounds 5]

One server process over loopback with the mesh's own server and channels, as a service has them: the interceptor that
knows callers, decodes and validates. A small call is a heartbeat; a group is 8 responses of 8K tokens, 0.52 MB. The
processes share the machine's cores with nobody, or the figures are of the neighbours.
"""

import argparse
import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from areal_mesh.runtime.environment import prepare_process

prepare_process()

from areal_mesh.runtime.channels import open_channel  # noqa: E402 gRPC reads its environment when it is imported
from areal_mesh.runtime.identity import Identity  # noqa: E402
from areal_mesh.runtime.security.authority import issue, make_authority  # noqa: E402
from areal_mesh.runtime.security.credentials import Credentials, find_certificate  # noqa: E402
from areal_mesh.runtime.security.subject import Subject  # noqa: E402
from areal_mesh.runtime.server import MeshServer  # noqa: E402
from areal_mesh.runtime.settings import LimitSettings  # noqa: E402
from areal_mesh.simulation.payload import append_request  # noqa: E402
from areal_mesh.v1 import common_pb2, controller_pb2, controller_pb2_grpc, replay_pb2, replay_pb2_grpc  # noqa: E402

SMALL_CALLS = 2_000
GROUPS = 200
CONNECTIONS = 50
RESPONSES, TOKENS = 8, 8_192
_SECONDS = 30.0


class Echo(controller_pb2_grpc.ControllerServiceServicer, replay_pb2_grpc.ReplayServiceServicer):
    """Answers at once."""

    async def Heartbeat(self, request: Any, context: Any) -> controller_pb2.HeartbeatResponse:
        return controller_pb2.HeartbeatResponse()

    async def AppendGroup(self, request: Any, context: Any) -> replay_pb2.AppendGroupResponse:
        return replay_pb2.AppendGroupResponse()


@dataclass(frozen=True)
class Round:
    """One measurement, medians in seconds; CPU seconds are those of client and server together."""

    call: float
    call_cpu: float
    group: float
    group_cpu: float
    connection: float


async def _serve(folder: Path | None, ready: Connection) -> None:
    servicer = Echo()  # type: ignore[abstract]  # nobody calls the others
    server = MeshServer("127.0.0.1:0", _proof(folder, "replay"), LimitSettings(calls_per_second=0))
    for add, name in (
        (controller_pb2_grpc.add_ControllerServiceServicer_to_server, "areal_mesh.v1.ControllerService"),
        (replay_pb2_grpc.add_ReplayServiceServicer_to_server, "areal_mesh.v1.ReplayService"),
    ):
        server.add(add, servicer, name)
    ready.send(await server.start())
    while await asyncio.to_thread(ready.recv):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        ready.send(usage.ru_utime + usage.ru_stime)
    await server.stop(0)


def _server(folder: Path | None, ready: Connection) -> None:
    asyncio.run(_serve(folder, ready))


def _proof(folder: Path | None, role: str) -> Credentials | None:
    return None if folder is None else Credentials(find_certificate(folder, role))


@contextmanager
def serving(folder: Path | None) -> Iterator[tuple[str, Connection]]:
    """A server in a process of its own: its address, and the pipe that tells its CPU seconds."""
    near, far = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_server, args=(folder, far))
    process.start()
    try:
        yield f"127.0.0.1:{near.recv()}", near
    finally:
        near.send(False)
        process.join(_SECONDS)


def _cpu(server: Connection) -> float:
    server.send(True)
    theirs: float = server.recv()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return theirs + usage.ru_utime + usage.ru_stime


async def measure(address: str, server: Connection, folder: Path | None) -> Round:
    """One round against a server."""
    me = Identity("generator", "generator-0", credentials=_proof(folder, "generator"))
    state = common_pb2.SERVICE_STATE_SERVING
    beat, group = controller_pb2.HeartbeatRequest(service_id="generator-0", incarnation="one", state=state), _group()

    async def connect() -> None:
        async with open_channel(address, me) as channel:
            await controller_pb2_grpc.ControllerServiceStub(channel).Heartbeat(beat, timeout=_SECONDS)

    async with open_channel(address, me) as control, open_channel(address, me, "bulk") as bulk:
        heartbeat: Any = controller_pb2_grpc.ControllerServiceStub(control).Heartbeat
        append: Any = replay_pb2_grpc.ReplayServiceStub(bulk).AppendGroup
        call, call_cpu = await _timed(lambda: heartbeat(beat, timeout=_SECONDS), SMALL_CALLS, server)
        appended, append_cpu = await _timed(lambda: append(group, timeout=_SECONDS), GROUPS, server)
    connection, _ = await _timed(connect, CONNECTIONS, server)
    return Round(call, call_cpu, appended, append_cpu, connection)


async def _timed(send: Callable[[], Awaitable[object]], count: int, server: Connection) -> tuple[float, float]:
    """Median seconds of one of so many, after a tenth as many to warm up; and its CPU seconds."""
    for _ in range(count // 10):
        await send()
    times, cpu = [], _cpu(server)
    for _ in range(count):
        began = time.perf_counter()
        await send()
        times.append(time.perf_counter() - began)
    return median(times), (_cpu(server) - cpu) / count


def _group() -> replay_pb2.AppendGroupRequest:
    lease = controller_pb2.Lease(group_id="g00000001", sequence=1)
    lease.stage.name, lease.stage.max_response_tokens = "8K", TOKENS
    lease.prompt.prompt_id = "p1"
    lease.sampling.max_response_tokens = TOKENS + 1
    lease.sampling.temperature = 1.0
    return append_request(lease, [TOKENS] * RESPONSES, 1, (-5.0, 5.0), TOKENS)


def main() -> None:
    """Measures both in turn and prints the table."""
    parser = argparse.ArgumentParser(description="Unary calls in plain text and over mutual TLS, in turn.")
    parser.add_argument("--rounds", type=int, default=5)
    rounds: int = parser.parse_args().rounds
    measured: dict[str, list[Round]] = {"plain text": [], "mutual TLS": []}
    with tempfile.TemporaryDirectory() as name:
        certs = Path(name)
        authority = make_authority(1)
        (certs / "ca.pem").write_bytes(authority.pem)
        for role in ("replay", "generator"):
            (certs / f"{role}.pem").write_bytes(issue(authority, Subject(role), ("127.0.0.1",), 1))
        folders: dict[str, Path | None] = {"plain text": None, "mutual TLS": certs}
        with serving(None) as plain, serving(certs) as tls:
            servers = {"plain text": plain, "mutual TLS": tls}
            for _ in range(rounds):
                for kind, (address, server) in servers.items():
                    measured[kind].append(asyncio.run(measure(address, server, folders[kind])))
    _print(measured, rounds)


def _print(measured: dict[str, list[Round]], rounds: int) -> None:
    table = Table(title=f"medians of {rounds} alternating rounds, over loopback; milliseconds")
    for column in ("", "small call", "its CPU", "group of 0.52 MB", "its CPU", "new connection"):
        table.add_column(column, justify="right")
    names = [field.name for field in fields(Round)]
    found = {kind: [median(getattr(one, name) for one in each) for name in names] for kind, each in measured.items()}
    for kind, figures in found.items():
        table.add_row(kind, *(f"{seconds * 1e3:.3f}" for seconds in figures))
    Console(width=140).print(table)
    for name, before, after in zip(names, *found.values(), strict=True):
        print(f"figure: tls_over_plain_{name} {after / before:.2f}")


if __name__ == "__main__":
    main()
