"""Certificates as they are made and read, and as a process takes them from their folder."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from areal_mesh.runtime.security.authority import (
    Authority,
    AuthorityError,
    authorities_of,
    expiry_of,
    is_issued_by,
    issue,
    make_authority,
    names_host,
    read_certificate,
    unique_hosts,
)
from areal_mesh.runtime.security.credentials import Credentials, CredentialsError, find_certificate, read_pems
from areal_mesh.runtime.security.subject import Subject

HOSTS = ("node-1.example", "10.0.0.1", "fd00::1")
GENERATOR = Subject("generator", "generator-0")
SECONDS = 5.0


@pytest.fixture(scope="module")
def authority() -> Authority:
    return make_authority(10)


def filled(folder: Path, authority: Authority, name: str = "generator-0", subject: Subject = GENERATOR) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "ca.pem").write_bytes(authority.pem)
    (folder / f"{name}.pem").write_bytes(issue(authority, subject, HOSTS, 5))
    return folder


def test_a_certificate_says_whom_it_is_for_where_and_how_long(authority: Authority) -> None:
    pem = issue(authority, GENERATOR, HOSTS, 5)
    details = read_certificate(pem)
    assert (details.subject, details.hosts) == (GENERATOR, HOSTS)
    now = datetime.now(UTC)
    assert details.not_before < now < details.not_after
    assert details.not_after - now == pytest.approx(timedelta(days=5), abs=timedelta(minutes=1))
    assert expiry_of(pem) == details.not_after.timestamp()
    assert is_issued_by(pem, make_authority(1).pem + authority.pem)
    assert not is_issued_by(pem, make_authority(1).pem)


def test_no_certificate_outlives_its_authority(authority: Authority) -> None:
    details = read_certificate(issue(authority, GENERATOR, HOSTS, 1000))
    assert details.not_after == authority.certificate.not_valid_after_utc


def test_an_authority_is_found_by_its_key_and_no_other_key_is_taken(authority: Authority) -> None:
    other = make_authority(1)
    bundle = other.pem + authority.pem
    assert Authority.read(bundle, authority.key_pem).pem == authority.pem
    assert authorities_of(bundle) == [other.pem, authority.pem]
    with pytest.raises(AuthorityError, match="the key is that of no authority"):
        Authority.read(authority.pem, other.key_pem)
    with pytest.raises(AuthorityError, match="no PEM"):
        Authority.read(b"nothing", authority.key_pem)
    with pytest.raises(AuthorityError, match="no PEM"):
        Authority.read(authority.pem, b"nothing")


def test_an_address_is_the_same_in_whatever_form(authority: Authority) -> None:
    details = read_certificate(issue(authority, GENERATOR, ("Node.example", "fd00:0:0::1"), 1))
    assert names_host(details, "node.EXAMPLE")
    assert names_host(details, "fd00::1")
    assert not names_host(details, "fd00::2")
    pods = read_certificate(issue(authority, GENERATOR, ("*.generator.mesh.svc", "10.0.0.1"), 1))
    assert names_host(pods, "generator-3.generator.mesh.svc")
    assert not names_host(pods, "generator.mesh.svc")
    assert not names_host(pods, "a.b.generator.mesh.svc")
    assert not names_host(pods, "10.0.0.2")
    assert unique_hosts(("fd00::1", "a", "fd00:0::1", "A")) == ("fd00::1", "a")
    assert unique_hosts(("*.Mesh.svc", "[fd00::2]")) == ("*.mesh.svc", "fd00::2")
    for host in ("node-1:7400", "a b", "", "*.", "10.0.0.1/8", "müller"):
        with pytest.raises(ValueError, match="is no host"):
            unique_hosts((host,))


def test_a_service_has_its_own_certificate_before_its_roles(authority: Authority, tmp_path: Path) -> None:
    folder = filled(tmp_path / "c", authority)
    with pytest.raises(
        CredentialsError, match=r"no certificate for the generator, looked for generator-1\.pem and gen"
    ):
        find_certificate(folder, "generator", "generator-1")
    filled(folder, authority, "generator", Subject("generator"))
    assert find_certificate(folder, "generator", "generator-0").certificate.name == "generator-0.pem"
    assert find_certificate(folder, "generator", "generator-1").certificate.name == "generator.pem"
    with pytest.raises(CredentialsError, match=r"looked for client\.pem; make one with `areal-mesh certs issue client"):
        find_certificate(folder, "client")


def test_what_does_not_belong_together_is_no_proof(authority: Authority, tmp_path: Path) -> None:
    folder = filled(tmp_path / "c", authority)
    files = find_certificate(folder, "generator", "generator-0")
    whole = files.certificate.read_text()
    certificate, key = whole.split("-----BEGIN PRIVATE KEY")
    other = issue(authority, GENERATOR, HOSTS, 5).decode().split("-----BEGIN PRIVATE KEY")[1]
    for text, told in (
        (certificate, "expected a certificate and its private key"),
        ("-----BEGIN PRIVATE KEY" + key, "expected a certificate and its private key"),
        (f"{certificate}-----BEGIN PRIVATE KEY{other}", "the key is not the certificate's"),
    ):
        files.certificate.write_text(text)
        with pytest.raises(CredentialsError, match=told):
            read_pems(files)
    files.certificate.write_text(whole)
    files.authorities.write_text("nothing")
    with pytest.raises(CredentialsError, match=r"ca\.pem: holds no certificate"):
        read_pems(files)
    files.authorities.unlink()
    with pytest.raises(CredentialsError, match=r"ca\.pem: no such file"):
        read_pems(files)


def test_files_are_looked_at_again_after_a_second_and_never_taken_half(authority: Authority, tmp_path: Path) -> None:
    clock = [0.0]
    folder = filled(tmp_path / "c", authority)
    files = find_certificate(folder, "generator", "generator-0")
    credentials = Credentials(files, monotonic=lambda: clock[0])
    first = credentials.pems()
    filled(folder, authority)
    assert credentials.pems() is first
    clock[0] = 1.0
    second = credentials.pems()
    assert second is not first
    assert second.certificate.decode() in files.certificate.read_text()
    files.certificate.write_text("half of a certif")
    clock[0] = 2.0
    assert credentials.pems() is second
    filled(folder, authority)
    clock[0] = 3.0
    assert credentials.pems().certificate not in (first.certificate, second.certificate)


def test_no_secret_shows_in_what_is_printed_of_credentials(authority: Authority, tmp_path: Path) -> None:
    from areal_mesh.runtime.identity import Identity

    folder = filled(tmp_path / "c", authority)
    credentials = Credentials(find_certificate(folder, "generator", "generator-0"), token="a-token")
    shown = repr([credentials, credentials.pems(), Identity("generator", "generator-0", credentials=credentials)])
    assert "PRIVATE KEY" not in shown
    assert "a-token" not in shown
