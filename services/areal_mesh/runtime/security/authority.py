"""A private certificate authority: makes it, issues a service's certificate with its role, reads and checks one.

Keys are P-256, certificates X.509 v3. The only URI in a service's certificate says whom it is for (`subject`); its
names and addresses are those at which the service is reached.
"""

import ipaddress
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from areal_mesh.runtime.addresses import parse_host
from areal_mesh.runtime.security.subject import Subject

# The clocks of a cluster may differ by so much.
_SKEW = timedelta(minutes=10)


class AuthorityError(ValueError):
    """A certificate or a key that is none, or not of this authority."""


@dataclass(frozen=True)
class Authority:
    """What signs certificates."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def read(cls, authorities: bytes, key: bytes) -> "Authority":
        """Of the trusted authorities the one whose key it is.

        Raises:
            AuthorityError: it is none of theirs, or one of the two is not PEM.
        """
        try:
            found = x509.load_pem_x509_certificates(authorities)
            private = serialization.load_pem_private_key(key, password=None)
        except (ValueError, TypeError) as error:
            raise AuthorityError(f"is no PEM: {error}") from error
        for certificate in found:
            if isinstance(private, ec.EllipticCurvePrivateKey) and certificate.public_key() == private.public_key():
                return cls(certificate, private)
        raise AuthorityError("the key is that of no authority in it")

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        """The key: whoever has it is whom it likes."""
        return _key_pem(self.key)


def make_authority(days: float, now: datetime | None = None) -> Authority:
    """A new authority, good for so many days."""
    key, now = ec.generate_private_key(ec.SECP256R1()), now or datetime.now(UTC)
    # A name of its own, so that of two in one bundle the right one is tried.
    name = _name(f"areal-mesh authority {secrets.token_hex(4)}")
    usage = _usage(key_cert_sign=True, crl_sign=True)
    built = (
        _begin(name, name, key.public_key(), now, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(built.sign(key, hashes.SHA256()), key)


def issue(
    authority: Authority, subject: Subject, hosts: Sequence[str], days: float, now: datetime | None = None
) -> bytes:
    """A certificate and its new key, PEM one after the other.

    Args:
        hosts: names, IPv4 and IPv6 addresses at which the service is reached; none for a client.
        days: how long it is good, but no longer than its authority.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), now or datetime.now(UTC)
    until = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
    names = [x509.UniformResourceIdentifier(subject.uri), *(_general_name(host) for host in hosts)]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
    signer = authority.key.public_key()
    built = (
        _begin(_name(str(subject)), authority.certificate.subject, key.public_key(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    certificate = built.sign(authority.key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM) + _key_pem(key)


def authorities_of(pem: bytes) -> list[bytes]:
    """Each certificate of a bundle by itself. Raises AuthorityError for what is none."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise AuthorityError("holds no certificate") from error
    return [certificate.public_bytes(serialization.Encoding.PEM) for certificate in found]


@dataclass(frozen=True)
class CertificateDetails:
    """What a certificate says. `subject` is None where it is not one of the mesh."""

    subject: Subject | None
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime


def read_certificate(pem: bytes) -> CertificateDetails:
    """What the first certificate of a PEM says.

    Raises:
        AuthorityError: there is none.
    """
    certificate = _load(pem)
    names = _names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    subject = Subject.from_uri(uris[0]) if len(uris) == 1 else None
    return CertificateDetails(
        subject, (*hosts, *addresses), certificate.not_valid_before_utc, certificate.not_valid_after_utc
    )


def expiry_of(pem: bytes) -> float:
    """When a certificate comes to its end, seconds since 1970. Raises AuthorityError for what is none."""
    return _load(pem).not_valid_after_utc.timestamp()


def is_issued_by(pem: bytes, authorities: bytes) -> bool:
    """Whether one of these authorities signed the certificate."""
    certificate = _load(pem)
    return any(_signed(certificate, authority) for authority in x509.load_pem_x509_certificates(authorities))


def names_host(details: CertificateDetails, host: str) -> bool:
    """Whether a service with this certificate may be reached as `host`, a name or an address.

    A name that begins with `*.` stands for one with any first part.
    """
    known, wanted = {_same_form(name) for name in details.hosts}, _same_form(host)
    return wanted in known or f"*.{wanted.partition('.')[2]}" in known


def unique_hosts(hosts: Iterable[str]) -> tuple[str, ...]:
    """Each host once, in their order.

    Raises:
        ValueError: one is neither a name nor an address.
    """
    found: dict[str, None] = {}
    for host in hosts:
        wild = "*." if host.startswith("*.") else ""
        found[_same_form(wild + parse_host(host.removeprefix(wild)))] = None
    return tuple(found)


def _same_form(host: str) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host.lower()


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _load(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise AuthorityError("is no certificate") from error


def _names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _begin(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now - _SKEW, until - _SKEW))
        .not_valid_after(until)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _usage(**given: bool) -> x509.KeyUsage:
    of_keys = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    every = (*of_keys, "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{name: given.get(name, False) for name in every})


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
