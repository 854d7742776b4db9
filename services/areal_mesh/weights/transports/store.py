"""The key-value store at which a process group's members meet, hosted by the learner's rank 0."""

import socket
from datetime import timedelta

from torch._C._distributed_c10d import TCPStore
from torch.distributed import DistNetworkError, DistStoreError

from areal_mesh.runtime.addresses import Address
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transports.store_guard import StoreGuard, new_token, relay_to

_SCHEME = "tcp://"
_SERVER_TIMEOUT = timedelta(seconds=30)
_MEETING_SLACK_SECONDS = 10.0


class StoreMeeting:
    """Serves the store as long as it lives; every group of a run uses the same one under its own transfer id.

    Listens on `host` alone, never on all interfaces, and beyond loopback behind a guard: whoever reaches a store could
    join a group. Raises OSError when the address cannot be bound.
    """

    def __init__(self, host: str, port: int = 0, guarded: bool = True) -> None:
        """`guarded`: False where members have no way to be given a token: whoever reaches the address may then join."""
        family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server((host, port), family=family)
        self.address = Address(host, listener.getsockname()[1])
        if not guarded or Address(str(found[0]), port).is_loopback:
            self._guard, self._store = None, _serve(host, listener)
        else:
            inner = socket.create_server(("127.0.0.1", 0))
            inner_port: int = inner.getsockname()[1]
            self._store = _serve("127.0.0.1", inner)
            self._guard = StoreGuard(listener, inner_port)

    def open(self, group_id: str, world_size: int, timeout_seconds: float) -> Group:
        """A new group that meets here."""
        if self._guard is None:
            return Group(group_id, f"{_SCHEME}{self.address}", world_size, timeout_seconds)
        token = new_token()
        # Reaching the meeting and meeting the members each have the timeout.
        self._guard.admit(token, 2 * timeout_seconds + _MEETING_SLACK_SECONDS)
        return Group(group_id, f"{_SCHEME}{token}@{self.address}", world_size, timeout_seconds)

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._store = None
        if self._guard is not None:
            self._guard.close()


def _serve(host: str, listener: socket.socket) -> TCPStore | None:
    """A store behind a bound socket, whose descriptor it takes over and closes."""
    return TCPStore(
        host,
        listener.getsockname()[1],
        is_master=True,
        timeout=_SERVER_TIMEOUT,
        wait_for_workers=False,
        master_listen_fd=listener.detach(),
    )


def store_address(group: Group) -> Address:
    """Where the group's store serves. Raises TransferError for an endpoint of another transport."""
    if not group.endpoint.startswith(_SCHEME):
        raise TransferError(
            f"group {group.group_id!r} meets at {group.endpoint}, which is no store; set the same weights.transport "
            "at the learner and the generators"
        )
    try:
        return Address.parse(group.endpoint.removeprefix(_SCHEME).rpartition("@")[2])
    except ValueError as error:
        raise TransferError(f"group {group.group_id!r}: its store's address {error}") from error


def arrival_key(group: Group, rank: int) -> str:
    """Key that member `rank` sets in the store once it has reached it."""
    return f"{group.group_id}/arrived/{rank}"


def joined_key(group: Group, rank: int) -> str:
    """Key that member `rank` sets once it has joined, which takes all members."""
    return f"{group.group_id}/joined/{rank}"


def connect_store(group: Group) -> TCPStore:
    """Target the group's store. Raises TransferError when it cannot be reached within the timeout."""
    address = store_address(group)
    timeout = timedelta(seconds=group.timeout_seconds)
    token = group.endpoint.removeprefix(_SCHEME).rpartition("@")[0]
    try:
        near = relay_to(address, token, group.timeout_seconds) if token else address
        return TCPStore(near.host, near.port, is_master=False, timeout=timeout, wait_for_workers=False)
    except (DistNetworkError, DistStoreError, OSError) as error:
        raise TransferError(
            f"group {group.group_id!r}: the learner's store at {address} was not "
            f"reached in {group.timeout_seconds:g} s; check that the learner runs and the port is open"
        ) from error


def wait_for_arrival(group: Group, ranks: range) -> None:
    """Block until the members `ranks` have reached the store. Raises TransferError after the timeout."""
    _wait_for(group, [arrival_key(group, rank) for rank in ranks], f"members {list(ranks)} did not all arrive")


def wait_until_joined(group: Group, ranks: range) -> None:
    """Block until the members `ranks` have joined. Raises TransferError after the timeout."""
    _wait_for(group, [joined_key(group, rank) for rank in ranks], f"members {list(ranks)} wait for others to join")


def _wait_for(group: Group, keys: list[str], what: str) -> None:
    store = connect_store(group)
    try:
        store.wait(keys, timedelta(seconds=group.timeout_seconds))
    except (DistNetworkError, DistStoreError) as error:
        raise TransferError(f"group {group.group_id!r}: {what} in {group.timeout_seconds:g} s") from error
