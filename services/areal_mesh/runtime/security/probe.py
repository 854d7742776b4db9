"""Why no connection comes about: gRPC says of a failed handshake that the socket was closed, and no more.

Asked once a call has failed, and never before one.
"""

import asyncio
import socket
import ssl

from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.security.credentials import Credentials, CredentialsError

_SECONDS = 2.0
# HTTP/2's preface and empty settings: what a server answers to, once it has taken the caller's certificate.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
_REFUSED = {
    "UNKNOWN_CA": "this certificate is of another authority than those it trusts",
    "CERTIFICATE_EXPIRED": "this certificate has expired",
    "CERTIFICATE_REQUIRED": "it asks for a certificate",
}


async def why_not_connected(address: str, credentials: Credentials | None) -> str:
    """What a person can do about a service that is not reached; empty where nothing was found out.

    Args:
        address: host:port.
        credentials: those with which it was called; None for plain text.
    """
    return await asyncio.to_thread(_why, address, credentials)


def _why(address: str, credentials: Credentials | None) -> str:
    target = Address.parse(address)
    try:
        with socket.create_connection((target.host, target.port), timeout=_SECONDS) as connection:
            return _of_plain(connection) if credentials is None else _of_tls(connection, target, credentials)
    except (OSError, CredentialsError):
        return ""  # nothing listens, or it is cut off: the caller has said so already


def _of_plain(connection: socket.socket) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        context.wrap_socket(connection).close()
    except OSError:
        return ""
    return "it speaks TLS; name a folder of certificates (--certificates, security.certificates)"


def _of_tls(connection: socket.socket, target: Address, credentials: Credentials) -> str:
    context = ssl.create_default_context(cadata=credentials.pems().authorities.decode())
    context.load_cert_chain(credentials.files.certificate)
    context.set_alpn_protocols(["h2"])
    mine = credentials.files.certificate
    try:
        with context.wrap_socket(connection, server_hostname=target.host) as tls:
            tls.sendall(_PREFACE)
            if tls.recv(1):
                return ""
            return f"it refuses {mine}: of an authority that it does not trust, or expired; see `areal-mesh certs list`"
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is refused: {error.verify_message.lower().rstrip('.')}; it has to be issued by "
            f"{credentials.files.authorities}, for {target.host}, and in time (`areal-mesh certs issue --host`)"
        )
    except ssl.SSLError as error:
        if error.reason == "WRONG_VERSION_NUMBER":
            return "it speaks plain text, and is called over TLS; set security.certificates for it too"
        known = next((text for word, text in _REFUSED.items() if word in str(error.reason)), "")
        return f"it refuses {mine}: {known or str(error.reason).replace('_', ' ').lower()}"
    except ConnectionError:
        return f"it refuses {mine}: of an authority that it does not trust, or expired; see `areal-mesh certs list`"
