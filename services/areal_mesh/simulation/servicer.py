"""What simulated generators and the simulated learner serve to the controller: weights that arrive at once."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from areal_mesh.v1 import generator_pb2, generator_pb2_grpc, learner_pb2, learner_pb2_grpc, weights_pb2

_DIGEST = weights_pb2.TensorDigest(name="simulated-weights", digest="simulated")
_BYTES = 100


@dataclass
class WeightsServicer(generator_pb2_grpc.GeneratorServiceServicer, learner_pb2_grpc.LearnerServiceServicer):
    """The services of all simulated members, and the versions that they hold."""

    version: int = -1
    """Of the generators, -1 before the first publish."""
    learner_version: int = 0

    async def serve(self, hosts: Sequence[str]) -> tuple[grpc.aio.Server, int]:
        """One server for all, on the same free port of each of these loopback addresses; returns it and the port."""
        server = grpc.aio.server()
        generator_pb2_grpc.add_GeneratorServiceServicer_to_server(self, server)
        learner_pb2_grpc.add_LearnerServiceServicer_to_server(self, server)
        port = 0
        for host in hosts:
            port = server.add_insecure_port(f"{host}:{port}")
        await server.start()
        return server, port

    async def PrepareWeights(self, request: Any, context: Any) -> Any:
        return generator_pb2.PrepareWeightsResponse()

    async def ReceiveWeights(self, request: Any, context: Any) -> Any:
        self.version = max(self.version, request.policy_version)
        return generator_pb2.ReceiveWeightsResponse(digests=[generator_pb2.WorkerDigests(tensors=[_DIGEST])])

    async def AbortWeights(self, request: Any, context: Any) -> Any:
        return generator_pb2.AbortWeightsResponse()

    async def Generate(self, request: Any, context: Any) -> AsyncIterator[generator_pb2.GenerateResponse]:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "a simulated generator has no model to answer with")
        yield generator_pb2.GenerateResponse()  # never reached: what has a yield is a stream

    async def OpenTransfer(self, request: Any, context: Any) -> Any:
        return learner_pb2.OpenTransferResponse(
            manifest=weights_pb2.WeightManifest(policy_version=self.learner_version, bucket_bytes=1024),
            group=weights_pb2.TransferGroup(group_id=request.group_id, world_size=request.world_size),
        )

    async def SendWeights(self, request: Any, context: Any) -> Any:
        return learner_pb2.SendWeightsResponse(bytes=_BYTES, digests=[_DIGEST])

    async def AbortTransfer(self, request: Any, context: Any) -> Any:
        return learner_pb2.AbortTransferResponse()
