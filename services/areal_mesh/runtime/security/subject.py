"""Whom a certificate names: a role, and where it is for one service alone, that service. Written as a SPIFFE id."""

import re
from dataclasses import dataclass

from areal_mesh.runtime.identity import ROLE_NAMES

TRUST_DOMAIN = "areal-mesh"
_SERVICE_ID = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_URI = re.compile(rf"spiffe://{TRUST_DOMAIN}/(?P<role>[a-z]+)(/(?P<service_id>{_SERVICE_ID}))?")


@dataclass(frozen=True)
class Subject:
    """Whom a certificate names.

    `role` is one of ROLE_NAMES; `service_id` is empty where the certificate is for every service of the role.

    Raises:
        ValueError: there is no such role, or the service id is none.
    """

    role: str
    service_id: str = ""

    def __post_init__(self) -> None:
        if self.role not in ROLE_NAMES:
            raise ValueError(f"there is no role {self.role!r}; there are {', '.join(ROLE_NAMES)}")
        if self.service_id and not re.fullmatch(_SERVICE_ID, self.service_id):
            raise ValueError(f"{self.service_id!r} is no service id; use letters, digits, dots and dashes")

    @classmethod
    def from_uri(cls, uri: str) -> "Subject | None":
        """The subject that a certificate's URI names; None for a URI that is not of the mesh."""
        found = _URI.fullmatch(uri)
        if found is None or found["role"] not in ROLE_NAMES:
            return None
        return cls(found["role"], found["service_id"] or "")

    @property
    def uri(self) -> str:
        """As the certificate holds it, in its only URI."""
        return f"spiffe://{TRUST_DOMAIN}/{self}"

    def __str__(self) -> str:
        return f"{self.role}/{self.service_id}" if self.service_id else self.role
