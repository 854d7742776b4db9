"""The controller's channels to its members, one for each address that a member has now."""

from collections.abc import Collection

import grpc.aio

from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity


class Channels:
    """Opens channels as `identity`, gives them again, and closes those of members that are gone."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._open: dict[str, grpc.aio.Channel] = {}

    @property
    def addresses(self) -> frozenset[str]:
        """Addresses with an open channel."""
        return frozenset(self._open)

    def to(self, address: str) -> grpc.aio.Channel:
        """The channel to an address (host:port)."""
        if address not in self._open:
            self._open[address] = open_channel(address, self._identity)
        return self._open[address]

    async def close_all_but(self, addresses: Collection[str]) -> None:
        """Closes the channels to all other addresses; calls on them are cancelled."""
        gone = [self._open.pop(address) for address in self.addresses.difference(addresses)]
        for channel in gone:
            await channel.close()

    async def close(self) -> None:
        """Closes every channel."""
        await self.close_all_but(())
