"""Settings of transport security, and of how much one peer may ask of a service."""

from pydantic import Field

from areal_mesh.runtime.settings.base import Seconds, Settings, SettingsPath


class LimitSettings(Settings):
    """What a service takes from its callers. The longest request stands in the contract, method by method."""

    connections: int = Field(default=8192, gt=0)
    """Open connections of one service; further ones are closed at once."""
    streams_per_connection: int = Field(default=1024, gt=0)
    """Calls at once over one connection; more wait at the caller. A generator has a call for each group in flight."""
    calls_per_second: float = Field(default=2000.0, ge=0)
    """Calls that one peer may make, with twice as many at a stroke; RESOURCE_EXHAUSTED beyond. A peer is a certificate
    or a token with the address it comes from; in plain text the address alone, loopback excepted. 0: as many as it
    likes."""
    handshake_seconds: Seconds = 10.0
    """A connection that has not said by then what it is, is closed."""
    idle_seconds: Seconds = 300.0
    """A connection without a call for this long is closed; the next call opens another."""
    connection_age_seconds: Seconds = 43_200.0
    """A connection this old takes no new calls and is closed once those it has are answered, an hour later at most: the
    next one is opened with the certificates as they are then."""


class SecuritySettings(Settings):
    """Who may call whom."""

    certificates: SettingsPath | None = None
    """Folder with `ca.pem` and a certificate a service, as `areal-mesh certs` makes it: every connection between
    services is then mutual TLS. Left out: plain text, on loopback alone unless `plaintext_beyond_loopback`."""
    limits: LimitSettings = LimitSettings()
