"""One side of the replay benchmark: our replay buffer in a process of its own, and a client that fills and drains it.

python -m benchmarks.replay_load serve FOLDER DURABILITY
"""

import asyncio
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from areal_mesh.runtime.environment import prepare_process, settle_memory

prepare_process()

import numpy as np  # noqa: E402 the environment of gRPC comes first

from areal_mesh.replay.service import ReplayService  # noqa: E402
from areal_mesh.runtime.channels import open_channel  # noqa: E402
from areal_mesh.runtime.groups import payload_crc32c  # noqa: E402
from areal_mesh.runtime.identity import Identity  # noqa: E402
from areal_mesh.runtime.lease_seal import LeaseTerms, lease_seal  # noqa: E402
from areal_mesh.runtime.server import MeshServer  # noqa: E402
from areal_mesh.runtime.settings import RunSettings  # noqa: E402
from areal_mesh.runtime.standing import HeardStanding  # noqa: E402
from areal_mesh.v1 import (  # noqa: E402
    common_pb2,
    controller_pb2,
    replay_pb2,
    replay_pb2_grpc,
    rollout_pb2,
)

RESPONSES = 8
TOKENS = 8192
VOCABULARY = 151_936
BATCH_GROUPS = 64
_KEY = b"k" * 32
_LEARNER = ("learner-0", "one")
_IN_FLIGHT = 16  # appends that wait at once: as many as a few generators have
_SECONDS = 60.0


def standing() -> controller_pb2.RunStanding:
    """What the controller would say."""
    return controller_pb2.RunStanding(
        policy_version=1_000_000,
        batch_groups=BATCH_GROUPS,
        max_staleness=65_536,
        learner_id=_LEARNER[0],
        learner_incarnation=_LEARNER[1],
        lease_key=_KEY,
    )


async def serve(folder: Path, durability: str) -> None:
    """Serves a replay buffer in a folder; says its port on standard output."""
    (folder / "config.json").write_text(f'{{"vocab_size": {VOCABULARY}}}', encoding="utf-8")
    settings = RunSettings.model_validate(
        {
            "name": "replay",
            "directory": folder,
            "stages": [{"name": "8K", "max_response_tokens": TOKENS, "max_steps": 1000}],
            "model": {"folder": folder},
            "prompts": {"file": folder / "prompts.jsonl"},
            "replay": {"durability": durability, "waiting_bytes": 4 << 30, "kept_bytes": 0},
        }
    )
    heard = HeardStanding()
    heard.hear(standing())
    service = ReplayService(settings, folder / "replay", heard)
    server = MeshServer("127.0.0.1:0")
    service.attach(server)
    await service.start()
    settle_memory()
    os.write(1, b"%d\n" % await server.start())
    await service.run(asyncio.Event())


@contextmanager
def served(folder: Path, durability: str) -> Iterator[tuple[int, int]]:
    """Port and process id of a server process over an empty folder."""
    command = [sys.executable, "-m", "benchmarks.replay_load", "serve", str(folder), durability]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not select.select([process.stdout], [], [], _SECONDS)[0]:
            raise RuntimeError("the replay buffer did not come up")
        yield int(process.stdout.readline()), process.pid
    finally:
        process.kill()
        process.wait()


def requests(first: int, count: int) -> list[replay_pb2.AppendGroupRequest]:
    """Groups of one payload, as they are leased one after the other."""
    chance = np.random.default_rng(1)
    tokens = chance.integers(0, VOCABULARY, RESPONSES * TOKENS, dtype=np.int32)
    log_probs = -chance.exponential(0.5, RESPONSES * TOKENS).astype(np.float32)
    info = rollout_pb2.ResponseInfo(
        length=TOKENS,
        finish_reason=rollout_pb2.FINISH_REASON_LENGTH,
        version_spans=[
            rollout_pb2.VersionSpan(policy_version=1, start=0, end=TOKENS // 2),
            rollout_pb2.VersionSpan(policy_version=2, start=TOKENS // 2, end=TOKENS),
        ],
        verdict=rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_INCORRECT, reward=-5.0, rule="none"),
    )
    group = rollout_pb2.Group(
        prompt_id="prompt",
        stage=common_pb2.Stage(index=0, name="8K", max_response_tokens=TOKENS),
        prompt_token_ids=tokens[:512].tobytes(),
        response_token_ids=tokens.tobytes(),
        behaviour_log_probs=log_probs.tobytes(),
        responses=[info] * RESPONSES,
        temperature=1.0,
    )
    group.crc32c = payload_crc32c(group)
    made = []
    for number in range(first, first + count):
        group.group_id, group.sequence = f"g{number:08d}", number
        terms = LeaseTerms(group.group_id, number, group.prompt_id, 0, TOKENS, RESPONSES, group.temperature)
        made.append(replay_pb2.AppendGroupRequest(group=group, lease_seal=lease_seal(_KEY, terms)))
    return made


class Load:
    """A client of one server. `groups` a phase, a multiple of the batch."""

    def __init__(self, port: int, groups: int) -> None:
        self._address = f"127.0.0.1:{port}"
        self._groups = groups
        self._stored = 0
        self._step = 0

    async def insert(self) -> float:
        """Groups a second that are stored and acknowledged."""
        waiting = requests(self._stored, self._groups)
        waiting.reverse()
        async with open_channel(self._address, Identity("generator", "generator-0"), "bulk") as channel:
            stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
            await channel.channel_ready()

            async def lane() -> None:
                while waiting:
                    await stub.AppendGroup(waiting.pop(), timeout=_SECONDS)

            begun = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(_IN_FLIGHT):
                    tasks.create_task(lane())
            seconds = time.perf_counter() - begun
        self._stored += self._groups
        return self._groups / seconds

    async def draw(self) -> float:
        """Groups a second that are drawn, in batches, and released, as after a checkpoint; each is read whole."""
        drawn = 0
        async with open_channel(self._address, Identity("learner", _LEARNER[0]), "bulk") as channel:
            stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
            await channel.channel_ready()
            begun = time.perf_counter()
            while drawn < self._groups:
                self._step += 1
                request = replay_pb2.DrawBatchRequest(
                    step=self._step,
                    batch_groups=BATCH_GROUPS,
                    policy_version=self._step - 1,
                    max_staleness=65_536,
                    service_id=_LEARNER[0],
                    incarnation=_LEARNER[1],
                )
                async for part in stub.DrawBatch(request, timeout=_SECONDS):
                    if part.HasField("group"):
                        assert len(part.group.response_token_ids) == 4 * RESPONSES * TOKENS
                        drawn += 1
                await stub.ReleaseSteps(
                    replay_pb2.ReleaseStepsRequest(step=self._step, service_id=_LEARNER[0], incarnation=_LEARNER[1]),
                    timeout=_SECONDS,
                )
            seconds = time.perf_counter() - begun
        return drawn / seconds


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[2]), sys.argv[3]))
