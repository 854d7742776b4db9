"""What calls for leases were given, by their idempotency key: the same call again gets the same leases. Pure."""

from collections import OrderedDict
from collections.abc import Iterable

_KEYS_KEPT = 8  # of one member: a call is sent again while it is still the newest or nearly so


class IssuedLeases:
    """Group ids by member's life and idempotency key."""

    def __init__(self) -> None:
        self._issued: dict[str, OrderedDict[str, list[str]]] = {}

    def find(self, holder: str, key: str) -> list[str] | None:
        """What a call with this key was given; None where there was none."""
        return self._issued.get(holder, OrderedDict()).get(key)

    def put(self, holder: str, key: str, group_ids: Iterable[str]) -> None:
        """Notes what a call was given."""
        keys = self._issued.setdefault(holder, OrderedDict())
        keys[key] = list(group_ids)
        while len(keys) > _KEYS_KEPT:
            keys.popitem(last=False)

    def forget(self, holder: str) -> None:
        """Forgets what a life that is over was given."""
        self._issued.pop(holder, None)
