"""`areal-mesh certs`: a private authority in a folder, and the certificates that it issued."""

import socket
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.secret_files import OWNER_ONLY, READABLE, write_file
from areal_mesh.cli.tables import print_rows
from areal_mesh.runtime.security.authority import (
    Authority,
    AuthorityError,
    CertificateDetails,
    authorities_of,
    is_issued_by,
    issue,
    make_authority,
    read_certificate,
    unique_hosts,
)
from areal_mesh.runtime.security.credentials import AUTHORITIES_FILE, CERTIFICATE_SUFFIX
from areal_mesh.runtime.security.subject import Subject

KEY_FILE = "ca.key"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SOON_DAYS = 30


def init(folder: str, days: float, force: bool) -> None:
    """Makes an authority.

    Raises:
        CommandFailed: the folder has one already.
    """
    place, authority = Path(folder), make_authority(days)
    there = [str(place / name) for name in (AUTHORITIES_FILE, KEY_FILE) if (place / name).exists()]
    if there and not force:
        raise CommandFailed(
            f"{', '.join(there)}: is there already and is left as it is; `areal-mesh certs issue` goes on with it, "
            "--force makes another, which trusts nothing that it issued"
        )
    # The key first: it is what must not be lost.
    write_file(place / KEY_FILE, authority.key_pem, OWNER_ONLY, force)
    write_file(place / AUTHORITIES_FILE, authority.pem, READABLE, force)
    print(f"{place / AUTHORITIES_FILE}: the authority, which every service and client needs")
    print(f"{place / KEY_FILE}: its key, which signs; keep it off the nodes")


def issue_certificates(
    folder: str, roles: Sequence[str], service_id: str, hosts: Sequence[str], days: float, force: bool
) -> None:
    """Makes a certificate for each role.

    Raises:
        CommandFailed: there is no authority, one of the files is there already, or an argument does not hold.
    """
    if service_id and len(roles) != 1:
        raise CommandFailed(f"--service-id {service_id}: one service has one role; name one")
    place, authority = Path(folder), _authority(Path(folder))
    try:
        reached = unique_hosts(hosts or (*_LOOPBACK, socket.gethostname()))
        subjects = [Subject(role, service_id) for role in roles]
    except ValueError as error:
        raise CommandFailed(f"certs issue: {error}") from error
    for subject in subjects:
        path = place / f"{subject.service_id or subject.role}{CERTIFICATE_SUFFIX}"
        _write_certificate(path, authority, subject, () if subject.role == "client" else reached, days, force)


def rotate(folder: str, names: Sequence[str], days: float) -> None:
    """Makes certificates anew, with new keys, for the same subject and hosts.

    Raises:
        CommandFailed: one is not there, or none of the mesh's.
    """
    place, authority = Path(folder), _authority(Path(folder))
    for path in _chosen(place, names):
        details = _details(path)
        if details.subject is None:
            raise CommandFailed(f"{path}: was not made by `areal-mesh certs issue`")
        _write_certificate(path, authority, details.subject, details.hosts, days, force=True)


def new_authority(folder: str, days: float) -> None:
    """Makes another authority, which is trusted beside those that were; what they issued stays good."""
    place, authority = Path(folder), make_authority(days)
    _authority(place)
    trusted = authority.pem + (place / AUTHORITIES_FILE).read_bytes()
    write_file(place / AUTHORITIES_FILE, trusted, READABLE, replace=True)
    write_file(place / KEY_FILE, authority.key_pem, OWNER_ONLY, replace=True)
    print(f"{place / AUTHORITIES_FILE}: a new authority beside the old; bring it to every node, then `certs rotate`")


def drop_old_authorities(folder: str) -> None:
    """Trusts the newest authority alone.

    Raises:
        CommandFailed: a certificate of the folder was issued by another.
    """
    place, authority = Path(folder), _authority(Path(folder))
    others = [path for path in _certificates(place) if not is_issued_by(path.read_bytes(), authority.pem)]
    if others:
        raise CommandFailed(
            f"{', '.join(str(path) for path in others)}: of an older authority; `areal-mesh certs rotate` first"
        )
    write_file(place / AUTHORITIES_FILE, authority.pem, READABLE, replace=True)
    print(f"{place / AUTHORITIES_FILE}: the newest authority alone; bring it to every node")


def list_certificates(folder: str) -> int:
    """Prints a row a certificate; the exit code is 1 if one has expired."""
    place = Path(folder)
    now = datetime.now(UTC)
    rows, expired = [], False
    for name, details in _listed(place):
        days = (details.not_after - now).total_seconds() / 86400
        expired |= days <= 0
        state = "expired" if days <= 0 else "rotate soon" if days < _SOON_DAYS else "good"
        hosts = ", ".join(details.hosts)
        rows.append((name, str(details.subject or "authority"), hosts, f"{details.not_after:%Y-%m-%d %H:%M}", state))
    print_rows(("file", "for", "reached at", "until (UTC)", ""), rows)
    return int(expired)


def _listed(place: Path) -> Iterable[tuple[str, CertificateDetails]]:
    trusted = place / AUTHORITIES_FILE
    if not trusted.is_file():
        raise CommandFailed(f"{place}: no {AUTHORITIES_FILE}; `areal-mesh certs init` makes an authority")
    for pem in authorities_of(trusted.read_bytes()):
        yield AUTHORITIES_FILE, read_certificate(pem)
    for path in _certificates(place):
        yield path.name, _details(path)


def _write_certificate(
    path: Path, authority: Authority, subject: Subject, hosts: Sequence[str], days: float, force: bool
) -> None:
    write_file(path, issue(authority, subject, hosts, days), OWNER_ONLY, force)
    details = _details(path)
    where = f", reached at {', '.join(hosts)}" if hosts else ""
    print(f"{path}: {subject}{where}; good until {details.not_after:%Y-%m-%d}")


def _chosen(place: Path, names: Sequence[str]) -> list[Path]:
    if not names:
        return _certificates(place)
    return [place / f"{name.removesuffix(CERTIFICATE_SUFFIX)}{CERTIFICATE_SUFFIX}" for name in names]


def _certificates(place: Path) -> list[Path]:
    return sorted(path for path in place.glob(f"*{CERTIFICATE_SUFFIX}") if path.name != AUTHORITIES_FILE)


def _details(path: Path) -> CertificateDetails:
    try:
        return read_certificate(path.read_bytes())
    except OSError as error:
        raise CommandFailed(f"{path}: {str(error.strerror).lower()}") from error
    except AuthorityError as error:
        raise CommandFailed(f"{path}: {error}") from error


def _authority(place: Path) -> Authority:
    try:
        return Authority.read((place / AUTHORITIES_FILE).read_bytes(), (place / KEY_FILE).read_bytes())
    except FileNotFoundError as error:
        raise CommandFailed(f"{error.filename}: not there; `areal-mesh certs init` makes an authority") from error
    except OSError as error:
        raise CommandFailed(f"{error.filename}: {str(error.strerror).lower()}") from error
    except AuthorityError as error:
        raise CommandFailed(f"{place / AUTHORITIES_FILE}, {place / KEY_FILE}: {error}") from error
