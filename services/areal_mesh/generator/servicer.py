"""GeneratorService whole: the receiving end of a publish, and answers to those who ask beside the run."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from areal_mesh.generator.answers import Answers
from areal_mesh.generator.weight_receiver import WeightReceiverServicer
from areal_mesh.v1 import generator_pb2, generator_pb2_grpc


@dataclass
class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """Hands each call on to the part that serves it."""

    weights: WeightReceiverServicer
    answers: Answers

    async def PrepareWeights(
        self, request: generator_pb2.PrepareWeightsRequest, context: Any
    ) -> generator_pb2.PrepareWeightsResponse:
        """See `WeightReceiverServicer`, as the next two."""
        return await self.weights.PrepareWeights(request, context)

    async def ReceiveWeights(
        self, request: generator_pb2.ReceiveWeightsRequest, context: Any
    ) -> generator_pb2.ReceiveWeightsResponse:
        """Freezes requests, receives the version, continues on it."""
        return await self.weights.ReceiveWeights(request, context)

    async def AbortWeights(
        self, request: generator_pb2.AbortWeightsRequest, context: Any
    ) -> generator_pb2.AbortWeightsResponse:
        """Forgets a publish that was prepared."""
        return await self.weights.AbortWeights(request, context)

    async def Generate(
        self, request: generator_pb2.GenerateRequest, context: Any
    ) -> AsyncIterator[generator_pb2.GenerateResponse]:
        """See `Answers`."""
        async with aclosing(self.answers.generate(request)) as responses:
            async for response in responses:
                yield response
