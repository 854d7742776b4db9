"""Seals of leases: how the replay buffer knows, without asking, that the controller leased a group as it comes back.

The controller seals what a group has to keep with a key of the run; the generator hands the seal on; the replay buffer,
which has the key from its registration, makes it again out of the group. No call is added, and a seal outlives
restarts of everything, for the key lies in the ledger.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass

_SEAL_BYTES = 16


@dataclass(frozen=True)
class LeaseTerms:
    """What a group keeps from its lease to the log. `temperature` counts as float32."""

    group_id: str
    sequence: int
    prompt_id: str
    stage: int
    max_response_tokens: int
    responses: int
    temperature: float


def lease_seal(key: bytes, terms: LeaseTerms) -> bytes:
    """The seal of a lease, 16 bytes."""
    numbers = struct.pack(
        "<qqqqf", terms.sequence, terms.stage, terms.max_response_tokens, terms.responses, terms.temperature
    )
    names = [name.encode() for name in (terms.group_id, terms.prompt_id)]
    content = numbers + b"".join(struct.pack("<q", len(name)) + name for name in names)
    return hashlib.blake2b(content, key=key, digest_size=_SEAL_BYTES).digest()


def is_sealed(key: bytes, terms: LeaseTerms, seal: bytes) -> bool:
    """Whether the controller sealed exactly these terms."""
    return hmac.compare_digest(lease_seal(key, terms), seal)
