"""How a person's tool proves itself to a run over TLS: a client's certificate, and the person's token."""

from pathlib import Path

from areal_mesh.runtime.security.credentials import Credentials, find_certificate


def client_credentials(certificates: str | Path, token: str = "") -> Credentials:
    """What `connect` takes for a run over TLS.

    Args:
        certificates: folder with `ca.pem` and `client.pem`, as `areal-mesh certs` makes it.
        token: as `areal-mesh tokens add` printed it. It is sent over TLS alone, and to nobody without a certificate of
            the same authority.

    Raises:
        CredentialsError: the certificates cannot be used.
    """
    return Credentials(find_certificate(Path(certificates).expanduser(), "client"), token)
