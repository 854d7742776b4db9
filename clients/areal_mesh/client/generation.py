"""Answers of one generator to a prompt of one's own, token by token."""

import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio

from areal_mesh.client.errors import from_generator_error
from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.security.credentials import Credentials
from areal_mesh.runtime.security.probe import why_not_connected
from areal_mesh.v1 import generator_pb2, generator_pb2_grpc, rollout_pb2


@dataclass(frozen=True)
class Started:
    """What is sampled from what; comes first."""

    prompt_token_ids: tuple[int, ...]
    responses: int
    temperature: float
    top_p: float
    max_response_tokens: int
    policy_version: int
    """The version held when the request began."""


@dataclass(frozen=True)
class Tokens:
    """The next tokens of one response."""

    response: int
    """Which, from 0."""
    token_ids: tuple[int, ...]
    log_probs: tuple[float, ...]
    """Of each token, under what it was sampled from."""
    text: str
    finish_reason: str
    """stop or length, with the last tokens of the response; else empty."""
    version_spans: tuple[tuple[int, int, int], ...]
    """Of the whole response, with its last tokens: version, first token, token after the last."""


class GeneratorClient:
    """Speaks to one generator. Made by `connect`; usable until its block is left."""

    def __init__(
        self, channel: grpc.aio.Channel, address: str, timeout: float, credentials: Credentials | None = None
    ) -> None:
        self.address = address
        self._credentials = credentials
        self._timeout = timeout
        self._stub: generator_pb2_grpc.GeneratorServiceAsyncStub = generator_pb2_grpc.GeneratorServiceStub(channel)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, address: str, *, timeout: float = 600.0, credentials: Credentials | None = None
    ) -> AsyncIterator[Self]:
        """Opens a client of the generator at `address` (host:port); `MeshClient.generators` tells those of a run.

        `timeout` is the deadline of each whole answer, in seconds; `credentials` as `MeshClient.connect` takes them.

        Raises:
            ValueError: `address` is none.
        """
        Address.parse(address)
        identity = Identity("client", "areal-mesh-client", credentials=credentials)
        async with open_channel(address, identity) as channel:
            yield cls(channel, address, timeout, credentials)

    async def generate(
        self,
        problem: str | None = None,
        *,
        text: str | None = None,
        prompt_token_ids: list[int] | None = None,
        **options: Any,
    ) -> AsyncGenerator[Started | Tokens]:
        """The tokens of all responses as they come. Nothing of it is trained on.

        Args:
            problem: put into the run's template; instead of it `text`, a prompt written out, or `prompt_token_ids`.
            options: fields of `GenerateRequest`: responses, temperature, top_p, max_response_tokens, seed,
                policy_version, tag, whole. What is left out, or None, is as the run samples.

        Raises:
            MeshClientError: GeneratorUnreachable, RequestRefused or UnexpectedAnswer.
        """
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        if problem is not None:
            given["problem"] = problem
        elif text is not None:
            given["text"] = text
        elif prompt_token_ids is not None:
            given["prompt_token_ids"] = struct.pack(f"<{len(prompt_token_ids)}i", *prompt_token_ids)
        call = self._stub.Generate(generator_pb2.GenerateRequest(**given), timeout=self._timeout)
        try:
            async for response in call:
                yield _event(response)
        except grpc.aio.AioRpcError as error:
            unreached = error.code() is grpc.StatusCode.UNAVAILABLE
            why = await why_not_connected(self.address, self._credentials) if unreached else ""
            raise from_generator_error(error, self.address, "Generate", why) from error
        finally:
            call.cancel()


def _event(response: generator_pb2.GenerateResponse) -> Started | Tokens:
    if response.WhichOneof("event") == "started":
        started, sampling = response.started, response.started.sampling
        return Started(
            prompt_token_ids=_numbers("i", started.prompt_token_ids),
            responses=sampling.responses,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            max_response_tokens=sampling.max_response_tokens,
            policy_version=started.policy_version,
        )
    tokens = response.tokens
    reason = rollout_pb2.FinishReason.Name(tokens.finish_reason).removeprefix("FINISH_REASON_").lower()
    return Tokens(
        response=tokens.response,
        token_ids=_numbers("i", tokens.token_ids),
        log_probs=_numbers("f", tokens.log_probs),
        text=tokens.text,
        finish_reason="" if reason == "unspecified" else reason,
        version_spans=tuple((span.policy_version, span.start, span.end) for span in tokens.version_spans),
    )


def _numbers(kind: str, buffer: bytes) -> tuple[Any, ...]:
    """Little-endian numbers of four bytes: token ids or log-probabilities."""
    return struct.unpack(f"<{len(buffer) // 4}{kind}", buffer)
