"""One attempt at a publish among members that answer at once."""

import asyncio
from dataclasses import dataclass
from typing import Any

from areal_mesh.controller.publish.attempt import Ends, TransferPlan, transfer_weights
from areal_mesh.controller.publish.policy import GeneratorWeights
from areal_mesh.runtime.settings import WeightSettings
from areal_mesh.v1 import generator_pb2, learner_pb2, weights_pb2


@dataclass
class Answering:
    """Every member's calls; counts those begun since it was last looked at."""

    begun: int = 0

    async def OpenTransfer(self, request: Any, timeout: float) -> Any:
        manifest = weights_pb2.WeightManifest(policy_version=request.policy_version)
        return learner_pb2.OpenTransferResponse(manifest=manifest)

    async def SendWeights(self, request: Any, timeout: float) -> Any:
        return learner_pb2.SendWeightsResponse()

    async def PrepareWeights(self, request: Any, timeout: float) -> Any:
        self.begun += 1
        return generator_pb2.PrepareWeightsResponse()

    async def ReceiveWeights(self, request: Any, timeout: float) -> Any:
        self.begun += 1
        return generator_pb2.ReceiveWeightsResponse()


async def test_a_publish_to_hundreds_leaves_the_loop_to_others_between_its_calls() -> None:
    members: Any = Answering()
    receivers = [GeneratorWeights(f"generator-{number}/a", 0, 1) for number in range(300)]
    ends = Ends(b"key", "learner/a", members, {generator.key: members for generator in receivers})

    async def confirmed(version: int) -> bool:
        return True

    settings = WeightSettings(prepare_seconds=5.0, transfer_seconds=5.0, digests="never")
    at_once = []

    async def look() -> None:
        while True:
            at_once.append(members.begun)
            members.begun = 0
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(look())
        result = await transfer_weights(ends, TransferPlan(1, "group", receivers, settings, confirmed))
        looking.cancel()
    assert len(result.holders) == 300
    assert sum(at_once) + members.begun == 600
    assert max(at_once) <= 2 * 16
