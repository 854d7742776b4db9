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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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
    """One measurement. Seconds; CPU seconds are those of client and server together."""

    call: float
    call_cpu: float
    group: float
    connect: float


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
    beat = controller_pb2.HeartbeatRequest(
        service_id="generator-0", incarnation="one", state=common_pb2.SERVICE_STATE_SERVING
    )
    async with open_channel(address, me) as channel:
        stub: Any = controller_pb2_grpc.ControllerServiceStub(channel)
        times = []
        for _ in range(SMALL_CALLS // 10):
            await stub.Heartbeat(beat, timeout=_SECONDS)
        cpu = _cpu(server)
        for _ in range(SMALL_CALLS):
            began = time.perf_counter()
            await stub.Heartbeat(beat, timeout=_SECONDS)
            times.append(time.perf_counter() - began)
        cpu = _cpu(server) - cpu
    group = _group()
    async with open_channel(address, me, "bulk") as channel:
        append: Any = replay_pb2_grpc.ReplayServiceStub(channel).AppendGroup
        await append(group, timeout=_SECONDS)
        began = time.perf_counter()
        for _ in range(GROUPS):
            await append(group, timeout=_SECONDS)
        appended = (time.perf_counter() - began) / GROUPS
    began = time.perf_counter()
    for _ in range(CONNECTIONS):
        async with open_channel(address, me) as channel:
            await controller_pb2_grpc.ControllerServiceStub(channel).Heartbeat(beat, timeout=_SECONDS)
    connected = (time.perf_counter() - began) / CONNECTIONS
    return Round(median(times), cpu / SMALL_CALLS, appended, connected)


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
    table = Table(title=f"medians of {rounds} alternating rounds, over loopback")
    for column in ("", "small call, median ms", "its CPU ms", "group of 0.52 MB, ms", "MB/s", "new connection, ms"):
        table.add_column(column, justify="right")
    size = len(_group().SerializeToString())
    found = {}
    for kind, each in measured.items():
        call, cpu = median(one.call for one in each), median(one.call_cpu for one in each)
        group, connect = median(one.group for one in each), median(one.connect for one in each)
        found[kind] = (call, cpu, group, connect)
        cells = (f"{call * 1e3:.3f}", f"{cpu * 1e3:.3f}", f"{group * 1e3:.2f}", f"{size / group / 1e6:.0f}")
        table.add_row(kind, *cells, f"{connect * 1e3:.2f}")
    Console(width=140).print(table)
    plain, tls = found["plain text"], found["mutual TLS"]
    for name, before, after in zip(("call", "call_cpu", "group", "connection"), plain, tls, strict=True):
        print(f"figure: tls_over_plain_{name} {after / before:.2f}")


if __name__ == "__main__":
    main()
