"""What the contracts say of each method: who may call it, and whether a call may be sent again."""

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache

from google.protobuf.descriptor import FileDescriptor

from areal_mesh.runtime.identity import role_name
from areal_mesh.v1 import (
    controller_pb2,
    generator_pb2,
    learner_pb2,
    options_pb2,
    replay_pb2,
    status_pb2,
    verifier_pb2,
)

CONTROL_REQUEST_BYTES = 4 << 20
"""The longest request where the contract names no other limit."""

_FILES: tuple[FileDescriptor, ...] = (
    controller_pb2.DESCRIPTOR,
    generator_pb2.DESCRIPTOR,
    learner_pb2.DESCRIPTOR,
    replay_pb2.DESCRIPTOR,
    status_pb2.DESCRIPTOR,
    verifier_pb2.DESCRIPTOR,
)


@dataclass(frozen=True)
class MethodRules:
    """Options of one method.

    `roles` that may call it, empty for anyone; `idempotent`: the call may be sent again; `max_request_bytes`: the
    longest request; `read_only`: a person may call it with a token for read-only use.
    """

    roles: frozenset[str]
    idempotent: bool
    max_request_bytes: int
    read_only: bool = False


@cache
def method_rules() -> dict[str, MethodRules]:
    """Rules by full method name, `/areal_mesh.v1.ControllerService/Register`."""
    rules = {}
    for file in _FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                options = method.GetOptions()
                roles = frozenset(role_name(role) for role in options.Extensions[options_pb2.allowed_roles])
                idempotent = bool(options.Extensions[options_pb2.idempotent])
                most = options.Extensions[options_pb2.max_request_bytes] or CONTROL_REQUEST_BYTES
                read_only = bool(options.Extensions[options_pb2.read_only])
                rules[f"/{service.full_name}/{method.name}"] = MethodRules(roles, idempotent, most, read_only)
    return rules


def longest_request(services: Collection[str]) -> int:
    """The longest request, in bytes, that a server of these services (by full name) has to take."""
    limits = [rules.max_request_bytes for method, rules in method_rules().items() if method.split("/")[1] in services]
    return max([CONTROL_REQUEST_BYTES, *limits])
