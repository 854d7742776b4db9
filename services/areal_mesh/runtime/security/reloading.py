"""A channel over TLS that goes on with new certificates: each call takes the connection that was opened with them."""

from collections.abc import Callable
from typing import Any, Self

import grpc
import grpc.aio

from areal_mesh.runtime.security.credentials import Credentials

OpenWith = Callable[[grpc.ChannelCredentials], grpc.aio.Channel]


class ReloadingChannel(grpc.aio.Channel):
    """Channels to one target, one for each state of the certificates; calls under way stay on theirs.

    Args:
        credentials: the certificates.
        open_with: opens a channel with what they are now.
    """

    def __init__(self, credentials: Credentials, open_with: OpenWith) -> None:
        self._credentials = credentials
        self._open_with = open_with
        self._pems = credentials.pems()
        self._channel = open_with(credentials.for_channel())
        # Certificates change once in weeks; a connection without calls is closed by its server.
        self._former: list[grpc.aio.Channel] = []

    def current(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        pems = self._credentials.pems()
        if pems is not self._pems:
            self._former.append(self._channel)
            self._pems, self._channel = pems, self._open_with(self._credentials.for_channel())
        return self._channel

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """See `grpc.aio.Channel`."""
        for channel in (*self._former, self._channel):
            await channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See `grpc.aio.Channel`."""
        return self.current().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See `grpc.aio.Channel`."""
        await self.current().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See `grpc.aio.Channel`."""
        await self.current().channel_ready()

    def unary_unary(self, *method: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.unary_unary(*method, **options))

    def unary_stream(self, *method: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.unary_stream(*method, **options))

    def stream_unary(self, *method: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.stream_unary(*method, **options))

    def stream_stream(self, *method: Any, **options: Any) -> Any:
        """See `grpc.aio.Channel`."""
        return _Method(self, lambda channel: channel.stream_stream(*method, **options))


class _Method:
    """A method of whichever channel is the current one."""

    def __init__(self, channel: ReloadingChannel, make: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._make = make
        self._made: tuple[grpc.aio.Channel, Any] | None = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        current = self._channel.current()
        if self._made is None or self._made[0] is not current:
            self._made = (current, self._make(current))
        return self._made[1](*arguments, **options)
