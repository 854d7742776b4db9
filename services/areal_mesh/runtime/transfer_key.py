"""The key of a controller's life, by which learner and generators obey a transfer of weights.

Each life of the controller draws one, tells it to learner and generators with their registration and each heartbeat
(`RunStanding.transfer_key`), and names it in every call of a transfer. So a stranger's call is refused before anything
is done, and so is a late call of a life that is over. Nothing keeps the key: a controller that returns draws another.
"""

import secrets
from hmac import compare_digest

from areal_mesh.runtime.errors import permission_denied, unavailable
from areal_mesh.runtime.standing import HeardStanding

_KEY_BYTES = 16


def new_transfer_key() -> bytes:
    """A key that nobody can guess."""
    return secrets.token_bytes(_KEY_BYTES)


async def require_transfer_key(standing: HeardStanding, key: bytes) -> None:
    """Let a call of the controller's present life pass, where need be once the news of that life have come.

    Raises:
        MeshError: PERMISSION_DENIED for any other key; UNAVAILABLE where no controller has been heard yet.
    """
    said = None
    if len(key) == _KEY_BYTES:
        # A controller that returned may call before its answer to the registration was read here.
        said = await standing.when(lambda now: compare_digest(now.transfer_key, key))
        if said is None:
            raise unavailable("the controller was not heard yet; transfers are obeyed once it was")
    if said is None or not compare_digest(said.transfer_key, key):
        raise permission_denied("transfer_key is not that of the run's controller as it lives now")
