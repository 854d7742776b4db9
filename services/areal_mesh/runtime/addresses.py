"""Addresses as people write them and as sockets take them: the one reader of `host:port`.

An IPv6 literal stands in brackets where a port follows, `[::1]:7400`, and `host` holds it without: that is what
sockets, the metrics server and the weights' store take.
"""

import ipaddress
import re
from dataclasses import dataclass

_HOST_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_DIGITS = re.compile(r"[0-9]{1,5}")
_FORM = "write host:port, such as 127.0.0.1:7400, or [::1]:7400 for an IPv6 address"


@dataclass(frozen=True)
class Address:
    """A host and a port; port 0 stands for any that is free."""

    host: str
    """A name, an IPv4 address, or an IPv6 address without brackets."""
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Reads `host:port`.

        Raises:
            ValueError: it is none; the message says what would do.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host:
            raise ValueError(f"names no port; {_FORM}" if text else f"is empty; {_FORM}")
        if ":" in host and not host.startswith("["):
            raise ValueError(f"is an IPv6 address without brackets; {_FORM}")
        if not _DIGITS.fullmatch(port):
            raise ValueError(f"has {port!r} for its port; {_FORM}")
        if int(port) > 65535:
            raise ValueError(f"the port is over 65535; {_FORM}")
        return cls(parse_host(host), int(port))

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for every interface of a machine: fit to listen on, and to reach nobody at."""
        literal = _literal(self.host)
        return literal is not None and literal.is_unspecified

    @property
    def is_loopback(self) -> bool:
        """Whether it is reached from its own machine alone."""
        literal = _literal(self.host)
        return self.host == "localhost" if literal is None else literal.is_loopback

    def seen_from_its_machine(self) -> "Address":
        """Where a process of the same machine reaches what listens here: loopback for every interface."""
        if not self.is_wildcard:
            return self
        return Address("::1" if ":" in self.host else "127.0.0.1", self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host(text: str) -> str:
    """Reads a host alone; an IPv6 address may stand in brackets, which are taken off.

    Raises:
        ValueError: it is none; the message says what would do.
    """
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    literal = _literal(inner)
    bracketed = inner != text
    if literal is not None and (literal.version == 6 or not bracketed):
        return inner
    if bracketed or not _HOST_NAME.fullmatch(inner):
        raise ValueError(f"{text!r} is no host; name one, or give an IPv4 address or an IPv6 address")
    return inner


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
