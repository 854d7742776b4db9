"""How a server knows its callers; over plain text, by what they say. Over TLS: `tls_authentication`."""

from typing import Any, Protocol

from areal_mesh.runtime.channels import ROLE_KEY
from areal_mesh.runtime.security.authorization import CLIENT, Caller

_LOOPBACK = ("ipv4:127.", "ipv6:%5B::1%5D", "ipv6:%5B::ffff:127.", "ipv6:[::1]", "ipv6:[::ffff:127.", "unix:")


class Authentication(Protocol):
    """How a server knows its callers."""

    def caller_of(self, context: Any, needs_token: bool) -> Caller:
        """Who makes a call. `needs_token`: whether a person has to show one for it.

        Raises:
            MeshError: UNAUTHENTICATED.
        """


class PlainTextAuthentication:
    """Plain text: a caller is what it says, and a person's tool where it says nothing."""

    def caller_of(self, context: Any, needs_token: bool) -> Caller:
        """See `Authentication`."""
        role = metadata_value(context, ROLE_KEY) or CLIENT
        peer = str(context.peer())
        return Caller(role, role, peer="" if peer.startswith(_LOOPBACK) else host_of(peer))


def metadata_value(context: Any, key: str) -> str:
    """The first value of a key in a call's metadata; empty where there is none."""
    for name, value in context.invocation_metadata() or ():
        if name == key:
            return str(value)
    return ""


def host_of(peer: str) -> str:
    """The address of a peer without its port: `ipv4:10.0.0.1` of `ipv4:10.0.0.1:4711`."""
    return peer.rpartition(":")[0]
