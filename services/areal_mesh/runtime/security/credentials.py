"""A process's certificate, its key, and the authorities it trusts: read from a folder, and anew when that changes.

A folder holds `ca.pem`, one certificate after another of the authorities that are trusted, and for each service one
file with its certificate and its key, so that a reader never finds the one without the other.
"""

import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import grpc
import structlog

AUTHORITIES_FILE = "ca.pem"
CERTIFICATE_SUFFIX = ".pem"
_LOG = structlog.get_logger("security")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)
_KEY = re.compile(r"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.+?-----END \1PRIVATE KEY-----\n?", re.DOTALL)
_LOOK_AGAIN_SECONDS = 1.0
_Stamp = tuple[tuple[int, int, int], ...]


class CredentialsError(Exception):
    """Certificates that are not there or do not belong together: which file, and what would do."""


@dataclass(frozen=True)
class CertificateFiles:
    """Where a process's certificates lie."""

    authorities: Path
    certificate: Path
    """The certificate, those that lead from it to an authority, and its key."""


def find_certificate(folder: Path, role: str, service_id: str = "") -> CertificateFiles:
    """The files of a service: those under its own name, else those for every service of its role.

    Raises:
        CredentialsError: the folder has neither.
    """
    names = [name for name in (service_id, role) if name]
    for name in names:
        path = folder / f"{name}{CERTIFICATE_SUFFIX}"
        if path.is_file():
            return CertificateFiles(folder / AUTHORITIES_FILE, path)
    looked = " and ".join(f"{name}{CERTIFICATE_SUFFIX}" for name in dict.fromkeys(names))
    raise CredentialsError(
        f"{folder}: no certificate for the {role}, looked for {looked}; make one with "
        f"`areal-mesh certs issue {role} --folder {folder}`, or name another folder"
    )


@dataclass(frozen=True)
class Pems:
    """What the files hold, checked to belong together."""

    authorities: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def read_pems(files: CertificateFiles) -> Pems:
    """Reads the files.

    Raises:
        CredentialsError: one cannot be read, or the key is not the certificate's.
    """
    try:
        authorities = files.authorities.read_bytes()
        text = files.certificate.read_text(encoding="ascii", errors="replace")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=authorities.decode("ascii", errors="replace"))
    except OSError as error:  # ssl.SSLError is one: what is no certificate
        name = getattr(error, "filename", None) or files.authorities
        reason = "holds no certificate" if isinstance(error, ssl.SSLError) else str(error.strerror).lower()
        raise CredentialsError(f"{name}: {reason}; `areal-mesh certs init` makes an authority") from error
    certificates, key = "".join(_CERTIFICATE.findall(text)), _KEY.search(text)
    if not certificates or key is None:
        raise CredentialsError(f"{files.certificate}: expected a certificate and its private key, PEM in one file")
    try:
        context.load_cert_chain(files.certificate)
    except ssl.SSLError as error:
        raise CredentialsError(f"{files.certificate}: the key is not the certificate's ({error.reason})") from error
    return Pems(authorities, certificates.encode(), key[0].encode())


class Credentials:
    """The certificates of a process as they stand, and the token of the person it acts for.

    Where the files change to what cannot be used, the last that could be used stays, and the log says so.

    Raises:
        CredentialsError: they cannot be used.
    """

    def __init__(
        self, files: CertificateFiles, token: str = "", monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.files = files
        self.token = token
        self._monotonic = monotonic
        self._stamp = _stamp(files)
        self._pems = read_pems(files)
        self._looked = monotonic()

    @property
    def folder(self) -> Path:
        """Where they lie."""
        return self.files.authorities.parent

    def pems(self) -> Pems:
        """What the files held when they were looked at, a second ago at most; the same object while nothing changes."""
        now = self._monotonic()
        if now - self._looked >= _LOOK_AGAIN_SECONDS:
            self._looked = now
            self._look()
        return self._pems

    def _look(self) -> None:
        try:
            stamp = _stamp(self.files)
            if stamp == self._stamp:
                return
            self._pems = read_pems(self.files)
            self._stamp = stamp
            _LOG.info("took the new certificates", certificate=str(self.files.certificate))
        except (CredentialsError, OSError) as error:
            _LOG.error("the new certificates cannot be used; the old ones stay", cause=str(error))

    def for_server(self) -> grpc.ServerCredentials:
        """Credentials of a server that takes callers with a certificate alone, each handshake by the files of then."""
        known = [self._pems]

        def newer() -> grpc.ServerCertificateConfiguration | None:
            pems = self.pems()
            if pems is known[0]:
                return None
            known[0] = pems
            return _configuration(pems)

        # The stubs do not know that the fetcher may answer None: nothing has changed.
        fetcher = cast(Callable[[], grpc.ServerCertificateConfiguration], newer)
        return grpc.dynamic_ssl_server_credentials(
            _configuration(known[0]), fetcher, require_client_authentication=True
        )

    def for_channel(self) -> grpc.ChannelCredentials:
        """Credentials of a channel, by the files of now."""
        pems = self.pems()
        return grpc.ssl_channel_credentials(pems.authorities, pems.key, pems.certificate)


def _configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.authorities)


def _stamp(files: CertificateFiles) -> _Stamp:
    try:
        found = [os.stat(path) for path in (files.authorities, files.certificate)]
    except OSError as error:
        raise CredentialsError(f"{error.filename}: {str(error.strerror).lower()}") from error
    return tuple((stat.st_mtime_ns, stat.st_ino, stat.st_size) for stat in found)
