"""Certificates of every kind for tests of TLS, and a service behind them that says who called."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.security.authority import Authority, issue, make_authority
from areal_mesh.runtime.security.credentials import AUTHORITIES_FILE, Credentials, find_certificate
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.runtime.security.tokens import TOKENS_FILE, new_token, records_text, token_record
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import LimitSettings
from areal_mesh.v1 import controller_pb2, controller_pb2_grpc, status_pb2, status_pb2_grpc

HOSTS = ("localhost", "127.0.0.1", "::1")
EVERYBODY = ("controller", "replay", "verifier", "generator", "learner", "client")


def write_certificate(
    folder: Path, authority: Authority, subject: Subject, days: float = 1.0, ago_days: float = 0.0
) -> Path:
    """A certificate of `subject` in a folder; `ago_days`: issued so long ago."""
    hosts = () if subject.role == "client" else HOSTS
    path = folder / f"{subject.service_id or subject.role}.pem"
    aside = path.with_suffix(".aside")
    aside.write_bytes(issue(authority, subject, hosts, days, datetime.now(UTC) - timedelta(days=ago_days)))
    aside.replace(path)
    return path


def certificate_folder(folder: Path, roles: Sequence[str] = EVERYBODY, authority: Authority | None = None) -> Authority:
    """A folder with an authority and a certificate for each role."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = authority or make_authority(10)
    (folder / AUTHORITIES_FILE).write_bytes(authority.pem)
    for role in roles:
        write_certificate(folder, authority, Subject(role))
    return authority


def write_tokens(folder: Path, **accesses: str) -> dict[str, str]:
    """Tokens by their holder's name; an access of `expired` is an operator's of yesterday."""
    tokens = {name: new_token() for name in accesses}
    records = tuple(
        token_record(tokens[name], name, "operator", time.time() - 1)
        if access == "expired"
        else token_record(tokens[name], name, access)
        for name, access in accesses.items()
    )
    (folder / TOKENS_FILE).write_text(records_text(records))
    return tokens


def proof(folder: Path, role: str, token: str = "", service_id: str = "") -> Credentials:
    """What a process of a role proves itself with."""
    return Credentials(find_certificate(folder, role, service_id), token)


def caller(folder: Path, role: str, token: str = "", service_id: str = "") -> Identity:
    """A caller of a role, as channels are opened."""
    return Identity(role, service_id or f"{role}-0", credentials=proof(folder, role, token, service_id))


class EchoController(controller_pb2_grpc.ControllerServiceServicer, status_pb2_grpc.StatusServiceServicer):
    """Answers what was asked, and counts the calls that came through."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def Stop(self, request: Any, context: Any) -> controller_pb2.StopResponse:
        self.calls.append("Stop")
        return controller_pb2.StopResponse()

    async def GetConfig(self, request: Any, context: Any) -> controller_pb2.GetConfigResponse:
        self.calls.append("GetConfig")
        return controller_pb2.GetConfigResponse()

    async def Register(self, request: Any, context: Any) -> controller_pb2.RegisterResponse:
        self.calls.append("Register")
        return controller_pb2.RegisterResponse()

    async def LeaseGroups(self, request: Any, context: Any) -> controller_pb2.LeaseGroupsResponse:
        self.calls.append("LeaseGroups")
        return controller_pb2.LeaseGroupsResponse()

    async def GetStatus(self, request: Any, context: Any) -> status_pb2.GetStatusResponse:
        self.calls.append("GetStatus")
        return status_pb2.GetStatusResponse()


@asynccontextmanager
async def echo_controller(
    folder: Path | None, limits: LimitSettings | None = None, listen: str = "127.0.0.1:0"
) -> AsyncIterator[tuple[EchoController, str]]:
    """The servicer and its address; over TLS with the certificates of `folder`, else in plain text."""
    servicer = EchoController()  # type: ignore[abstract]  # nobody calls the others
    server = MeshServer(listen, None if folder is None else proof(folder, "controller"), limits)
    name = "areal_mesh.v1.{}Service"
    server.add(controller_pb2_grpc.add_ControllerServiceServicer_to_server, servicer, name.format("Controller"))
    server.add(status_pb2_grpc.add_StatusServiceServicer_to_server, servicer, name.format("Status"))
    port = await server.start()
    await server.set_serving(True)
    try:
        yield servicer, f"{listen.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(0)
