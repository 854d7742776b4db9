"""How often one peer may call: a token bucket each. Pure; time comes in as an argument."""

from collections import OrderedDict
from dataclasses import dataclass

_MOST_PEERS = 4096
_BURST_SECONDS = 2.0


@dataclass(slots=True)
class _Bucket:
    allowance: float
    since: float


class PeerRates:
    """The buckets of all peers. The peer that has been silent for longest is forgotten when there are too many."""

    def __init__(self, calls_per_second: float) -> None:
        self._rate = calls_per_second
        self._most = calls_per_second * _BURST_SECONDS
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def seconds_to_wait(self, peer: str, now: float) -> float:
        """Takes one call of `peer` in; 0 where it may be made, else the seconds after which one may.

        `now` is monotonic seconds.
        """
        bucket = self._buckets.get(peer)
        if bucket is None:
            bucket = self._buckets[peer] = _Bucket(self._most, now)
            if len(self._buckets) > _MOST_PEERS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(peer)
        bucket.allowance = min(self._most, bucket.allowance + (now - bucket.since) * self._rate)
        bucket.since = now
        if bucket.allowance < 1.0:
            return (1.0 - bucket.allowance) / self._rate
        bucket.allowance -= 1.0
        return 0.0
