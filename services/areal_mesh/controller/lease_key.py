"""The key with which a run's leases are sealed (`runtime/lease_seal`): one for the whole run, kept in its ledger."""

import secrets

from areal_mesh.controller.ledger import Ledger

_KEY = "lease_key"
_KEY_BYTES = 32


def lease_key(ledger: Ledger) -> bytes:
    """The run's key; made when it is first asked for."""
    written = ledger.read(_KEY)
    if written is None:
        written = secrets.token_hex(_KEY_BYTES)
        ledger.write(_KEY, written)
    return bytes.fromhex(written)
