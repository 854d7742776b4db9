"""The key-value store at which a group's members meet, hosted by the learner's rank 0."""

import socket
from datetime import timedelta

from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistNetworkError, DistStoreError

from areal_mesh.runtime.addresses import Address
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.rendezvous import Rendezvous

_SERVER_TIMEOUT = timedelta(seconds=30)


class StoreHost:
    """Serves the store as long as it lives; every group of a run uses the same one under its own `group_id`.

    Listens on `host` alone, never on all interfaces: whoever reaches the store could join a group.
    Raises OSError when the address cannot be bound.
    """

    def __init__(self, host: str, port: int = 0) -> None:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family)
        self.host = host
        self.port: int = listener.getsockname()[1]
        # The store takes the descriptor over and closes it.
        self._store: TCPStore | None = TCPStore(
            host,
            self.port,
            is_master=True,
            timeout=_SERVER_TIMEOUT,
            wait_for_workers=False,
            master_listen_fd=listener.detach(),
        )

    def rendezvous(self, group_id: str, world_size: int, timeout_seconds: float) -> Rendezvous:
        """A new group that meets here."""
        return Rendezvous(self.host, self.port, group_id, world_size, timeout_seconds)

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._store = None


def connect_store(rendezvous: Rendezvous) -> TCPStore:
    """Reach the group's store. Raises TransferError when it cannot be reached within the timeout."""
    timeout = timedelta(seconds=rendezvous.timeout_seconds)
    try:
        return TCPStore(rendezvous.host, rendezvous.port, is_master=False, timeout=timeout, wait_for_workers=False)
    except (DistNetworkError, DistStoreError, OSError) as error:
        address = Address(rendezvous.host, rendezvous.port)
        raise TransferError(
            f"group {rendezvous.group_id!r}: the learner's store at {address} was not "
            f"reached in {rendezvous.timeout_seconds:g} s; check that the learner runs and the port is open"
        ) from error


def wait_for_arrival(rendezvous: Rendezvous, ranks: range) -> None:
    """Block until the members `ranks` have reached the store. Raises TransferError after the timeout."""
    store = connect_store(rendezvous)
    keys = [rendezvous.arrival_key(rank) for rank in ranks]
    try:
        store.wait(keys, timedelta(seconds=rendezvous.timeout_seconds))
    except (DistNetworkError, DistStoreError) as error:
        raise TransferError(
            f"group {rendezvous.group_id!r}: members {list(ranks)} did not all arrive "
            f"in {rendezvous.timeout_seconds:g} s"
        ) from error
