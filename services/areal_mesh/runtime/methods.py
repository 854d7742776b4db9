"""What the contracts say of each method: who may call it, and whether a call may be sent again."""

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

    `roles` that may call it, empty for anyone; `idempotent`: the call may be sent again.
    """

    roles: frozenset[str]
    idempotent: bool


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
                rules[f"/{service.full_name}/{method.name}"] = MethodRules(roles, idempotent)
    return rules
