"""Who a caller over TLS is: whom its certificate names, and of a person, whom the token names as well."""

import time
from collections import OrderedDict
from typing import Any

import structlog
from prometheus_client import Gauge

from areal_mesh.runtime.channels import AUTHORIZATION_KEY, BEARER
from areal_mesh.runtime.security.authentication import host_of, metadata_value
from areal_mesh.runtime.security.authority import expiry_of
from areal_mesh.runtime.security.authorization import CLIENT, Caller, unauthenticated
from areal_mesh.runtime.security.credentials import Credentials
from areal_mesh.runtime.security.subject import Subject
from areal_mesh.runtime.security.tokens import TokenFile, TokensError, holder_of

_MOST_CERTIFICATES = 4096
_EXPIRY = Gauge("areal_mesh_certificate_expiry_timestamp_seconds", "When this service's certificate ends, since 1970")
_LOG = structlog.get_logger("security")


class TlsAuthentication:
    """TLS: a caller is whom its certificate names, and a person whom the token names as well."""

    def __init__(self, credentials: Credentials) -> None:
        self._tokens = TokenFile(credentials.folder)
        _EXPIRY.set_function(lambda: expiry_of(credentials.pems().certificate))
        self._known: OrderedDict[bytes, tuple[Subject, float]] = OrderedDict()

    def caller_of(self, context: Any, needs_token: bool) -> Caller:
        """See `Authentication`."""
        subject = self._subject(context.auth_context())
        peer = host_of(str(context.peer()))
        if subject.role == CLIENT and needs_token:
            return self._person(metadata_value(context, AUTHORIZATION_KEY), peer)
        name = str(subject)
        return Caller(subject.role, name, subject.service_id, authenticated=True, peer=f"{name}@{peer}")

    def _subject(self, proofs: Any) -> Subject:
        """Whom the certificate of a connection names, which may have come to its end since the handshake."""
        pem: bytes = next(iter(proofs.get("x509_pem_cert", ())), b"")
        known = self._known.get(pem)
        if known is None:
            uri: bytes = next(iter(proofs.get("peer_spiffe_id", ())), b"")
            subject = Subject.from_uri(uri.decode("ascii", "replace"))
            if subject is None:
                raise unauthenticated("the caller's certificate names no role; make one with `areal-mesh certs issue`")
            known = self._known[pem] = (subject, expiry_of(pem))
            if len(self._known) > _MOST_CERTIFICATES:
                self._known.popitem(last=False)
        if known[1] <= time.time():
            raise unauthenticated("the caller's certificate has expired; make another with `areal-mesh certs rotate`")
        return known[0]

    def _person(self, header: str, peer: str) -> Caller:
        try:
            records = self._tokens.records()
        except (TokensError, OSError) as error:
            _LOG.error("no token can be checked", cause=str(error))
            raise unauthenticated("this service cannot read its tokens; its log says why") from error
        if not header.lower().startswith(BEARER.lower()):
            raise unauthenticated(
                "people need a token beside their certificate: make one with `areal-mesh tokens add NAME`, and give it "
                "as $AREAL_MESH_TOKEN"
            )
        holder = holder_of(header[len(BEARER) :].strip(), records, time.time())
        if holder is None:
            raise unauthenticated("the token is not known here, was revoked, or has expired")
        name = f"{holder.name} with a token for {holder.access} use"
        return Caller(CLIENT, name, access=holder.access, authenticated=True, peer=f"{holder.name}@{peer}")
