"""The certificate of a service, looked at before it starts: one that nobody would accept is refused here, and why."""

import stat
from datetime import UTC, datetime
from pathlib import Path

import structlog

from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.security.credentials import Credentials, CredentialsError, find_certificate
from areal_mesh.runtime.settings import RunSettings

_SOON_SECONDS = 14 * 86400.0
_LOG = structlog.get_logger("security")


def service_credentials(settings: RunSettings, role: str, service_id: str) -> Credentials | None:
    """What a service of a run over TLS proves itself with; None for one that speaks plain text.

    Raises:
        StartupError: it has no certificate, or one that nobody would accept.
    """
    folder = settings.security.certificates
    if folder is None:
        return None
    try:
        credentials = Credentials(find_certificate(folder, role, service_id))
    except CredentialsError as error:
        raise StartupError(f"security.certificates = {error}") from error
    section = settings.service(role)
    host = "" if Address(section.reached_host, 0).is_wildcard else section.reached_host
    check_certificate(credentials, role, service_id, host)
    return credentials


def check_certificate(credentials: Credentials, role: str, service_id: str, host: str) -> None:
    """Checks that others accept the certificate of a service that they reach at `host`; empty where none is named.

    Raises:
        StartupError: they would not.
    """
    from areal_mesh.runtime.security.authority import is_issued_by, names_host, read_certificate

    pems, path = credentials.pems(), credentials.files.certificate
    details, now = read_certificate(pems.certificate), datetime.now(UTC)
    again = f"`areal-mesh certs issue {role} --force`"
    if details.subject is None or details.subject.role != role or details.subject.service_id not in ("", service_id):
        raise StartupError(f"{path}: is for {details.subject or 'nobody'}, not for {role} {service_id}; {again}")
    if not is_issued_by(pems.certificate, pems.authorities):
        raise StartupError(f"{path}: issued by none of {credentials.files.authorities}; {again}")
    if not details.not_before <= now < details.not_after:
        raise StartupError(
            f"{path}: good from {details.not_before:%Y-%m-%d %H:%M} to {details.not_after:%Y-%m-%d %H:%M} UTC, and now "
            f"it is {now:%Y-%m-%d %H:%M}; `areal-mesh certs rotate` makes it anew"
        )
    if host and not names_host(details, host):
        raise StartupError(
            f"{path}: names {', '.join(details.hosts) or 'no host'}, and others reach the {role} at {host}; "
            f"`areal-mesh certs issue {role} --host {host} --force`"
        )
    _warn(path, (details.not_after - now).total_seconds())


def _warn(path: Path, seconds_left: float) -> None:
    if seconds_left < _SOON_SECONDS:
        _LOG.warning("a certificate ends soon; `areal-mesh certs rotate`", path=str(path), hours=seconds_left // 3600)
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        _LOG.warning("others of this machine may read a key; chmod 600", path=str(path))
