"""What a caller may do. Pure: who calls and what the contract says in, a refusal out."""

from dataclasses import dataclass

import grpc
from google.protobuf.message import Message

from areal_mesh.runtime.errors import MeshError, permission_denied
from areal_mesh.runtime.identity import role_name
from areal_mesh.runtime.methods import MethodRules
from areal_mesh.runtime.security.tokens import OPERATOR

CLIENT = "client"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls."""

    role: str
    name: str
    """For a person who reads a refusal."""
    service_id: str = ""
    """The one service that the caller's certificate is for; empty where it is for every service of the role."""
    access: str = OPERATOR
    """Of a client: what its token allows."""
    authenticated: bool = False
    """Whether the role was proved by a certificate, and not only said."""
    peer: str = ""
    """Whom the call is counted for; empty where calls are not counted."""


def check_method(method: str, rules: MethodRules | None, caller: Caller) -> None:
    """Refuses a caller whom the contract does not let call `method`; without rules anybody may.

    Raises:
        MeshError: PERMISSION_DENIED.
    """
    if rules is None:
        return
    if rules.roles and caller.role not in rules.roles:
        raise permission_denied(f"{method} is for {', '.join(sorted(rules.roles))}; the caller is {caller.name}")
    if caller.role == CLIENT and caller.access != OPERATOR and not rules.read_only:
        raise permission_denied(f"{method} needs an operator's token; the caller is {caller.name}")


def check_claims(request: Message, caller: Caller) -> None:
    """Refuses a request in which a caller with a certificate says that it is another.

    Raises:
        MeshError: PERMISSION_DENIED.
    """
    if not caller.authenticated:
        return
    said = getattr(request, "service_id", "")
    if said and caller.service_id and said != caller.service_id:
        raise permission_denied(f"service_id is {said!r}; the caller's certificate is for {caller.service_id}")
    if said and hasattr(request, "role") and role_name(request.role) != caller.role:
        raise permission_denied(f"role is {role_name(request.role)}; the caller's certificate is for {caller.role}")


def unauthenticated(message: str) -> MeshError:
    """UNAUTHENTICATED: the caller has not proved who it is."""
    return MeshError(grpc.StatusCode.UNAUTHENTICATED, message)
