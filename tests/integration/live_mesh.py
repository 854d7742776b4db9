"""A whole mesh in one process, over real gRPC: every service is the real one, but for an engine that only copies.

The learner trains a tiny model and publishes it by Gloo; the generator receives it, answers each prompt with its own
text, and has that graded and stored. Stopped and started again in the same folder, the run goes on.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from areal_mesh.controller.service import build as build_controller
from areal_mesh.generator.service import GeneratorService
from areal_mesh.generator.values import PublishReport
from areal_mesh.learner.service import LearnerService
from areal_mesh.learner.service import build as build_learner
from areal_mesh.replay.service import build as build_replay
from areal_mesh.runtime.channels import AUTHORIZATION_KEY, BEARER, ROLE_KEY, open_channel
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.security.credentials import Credentials, find_certificate
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import Service, ServiceContext, _serve
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.watch import Watch
from areal_mesh.v1 import status_pb2, status_pb2_grpc
from areal_mesh.verifier.service import build as build_verifier
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.transports.gloo import GlooWire
from tests.integration.generator_contracts import SimulatedEngine
from tests.integration.generator_mesh import Starter

VOCABULARY = 128
BATCH_GROUPS = 4
RESPONSES = 2
MAX_RESPONSE_TOKENS = 32
SECONDS = 60.0


def live_settings(folder: Path, steps: int = 1000, certificates: Path | None = None) -> RunSettings:
    model = folder / "model"
    if not model.exists():
        config = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
        )
        torch.manual_seed(7)
        AutoModelForCausalLM.from_config(config).save_pretrained(model)
    lines = [json.dumps({"id": f"p{n}", "problem": f"{n}", "answer": str(n)}) for n in range(64)]
    (folder / "prompts.jsonl").write_text("\n".join(lines))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return RunSettings.model_validate(
        {
            "name": "live",
            "directory": folder / "runs",
            "stages": [{"name": "8K", "max_response_tokens": MAX_RESPONSE_TOKENS, "max_steps": steps}],
            "algorithm": {"batch_groups": BATCH_GROUPS, "responses": RESPONSES, "minibatches": 1, "max_staleness": 1},
            "model": {"folder": model, "dtype": "float32"},
            "prompts": {"file": folder / "prompts.jsonl", "template": "{problem}", "max_prompt_tokens": 8},
            "controller": {
                "listen": f"127.0.0.1:{port}",
                "heartbeat_seconds": 0.2,
                "lease_seconds": 3.0,
                "drain_seconds": 1.0,
            },
            "generator": {"device": "cpu", "max_groups_in_flight": 4, "drain_seconds": 0.5},
            "verifier": {"workers": 1},
            "weights": {"transport": {"type": "gloo"}, "digests": "never"},
            "learner": {"device": "cpu", "threads": 1, "checkpoint_every": 2, "warmup_share": 0},
            "security": {"certificates": certificates},
        }
    )


class CopyingEngine(SimulatedEngine):
    """Takes part in the broadcast, and keeps nothing of it but the version."""

    async def prepare(self, group: Group, first_rank: int) -> None:
        if getattr(self, "_group", None) != group:
            self._wire, self._group = await asyncio.to_thread(GlooWire, group, first_rank), group

    async def transfer(self, manifest: WeightManifest) -> PublishReport:
        await asyncio.to_thread(self._receive, manifest)
        self.version = manifest.version
        return PublishReport(0.0, 0.0, 0.0, manifest.num_bytes, 0.0, 0.0)

    def _receive(self, manifest: WeightManifest) -> None:
        for _ in BucketReceiver(self._wire, manifest).buckets():
            pass


@dataclass
class LiveMesh:
    """A running mesh. `contexts`, `services`, `addresses` and `watches` by role."""

    settings: RunSettings
    contexts: dict[str, ServiceContext] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    serving: dict[str, tuple[asyncio.Task[None], MeshServer]] = field(default_factory=dict)
    watches: dict[str, Watch] = field(default_factory=dict)
    tasks: asyncio.TaskGroup | None = None
    """In which services run; None for services that run elsewhere."""
    token: str = ""
    """Of a person, for a mesh over TLS."""

    def proof(self, role: str, token: str = "") -> Credentials | None:
        """What a caller of a role proves itself with; None for a mesh that speaks plain text."""
        folder = self.settings.security.certificates
        return None if folder is None else Credentials(find_certificate(folder, role), token)

    @property
    def person(self) -> Identity:
        """Who looks."""
        return Identity("client", "person", credentials=self.proof("client", self.token))

    async def start(self, role: str) -> None:
        """Starts a service, or starts it again."""
        assert self.tasks is not None, "these services run elsewhere"
        name = role if role in ("controller", "replay", "learner") else f"{role}-0"
        identity = Identity(role, name, credentials=self.proof(role))
        context = ServiceContext(self.settings, identity, self.settings.controller.listen)
        server = MeshServer(self.settings.service(role).listen, identity.credentials, self.settings.security.limits)
        service = _BUILDERS[role](context)
        service.attach(server)
        port = await server.start()
        await service.start()
        self.contexts[role], self.services[role] = context, service
        self.addresses[role] = f"127.0.0.1:{port}"
        watch = self.watches[role] = Watch(self.settings, identity, context.registry).__enter__()
        self.serving[role] = (self.tasks.create_task(_serve(context, service, self.addresses[role], watch)), server)

    async def stop(self, role: str) -> None:
        """Ends a service abruptly: it says goodbye to nobody."""
        task, server = self.serving.pop(role)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.watches.pop(role).__exit__()
        await self.services[role].close()
        await server.stop(0)
        if role == "learner":
            await _until_still(self.services[role])

    async def status(self) -> status_pb2.RunStatus:
        async with open_channel(self.addresses["controller"], self.person) as channel:
            stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
            return (await stub.GetStatus(status_pb2.GetStatusRequest(), timeout=SECONDS)).status

    async def until_step(self, step: int) -> status_pb2.RunStatus:
        """Waits until so many steps are committed."""
        async with open_channel(self.addresses["controller"], self.person) as channel:
            stub: status_pb2_grpc.StatusServiceAsyncStub = status_pb2_grpc.StatusServiceStub(channel)
            watching = stub.WatchStatus(status_pb2.WatchStatusRequest(), timeout=SECONDS)
            async for answer in watching:
                if answer.status.step >= step:
                    watching.cancel()
                    return answer.status
        raise AssertionError(f"step {step} never came")

    async def call(self, role: str, method: str, request: bytes, caller: str, seconds: float = SECONDS) -> bytes:
        """One call with raw bytes, as a caller of a role; the bytes of the answer, of a stream's last message."""
        async with self.raw_channel(role, caller) as channel:
            call: Any = channel.unary_unary(method)
            answer: bytes = await call(request, timeout=seconds, metadata=self.metadata(caller))
            return answer

    def metadata(self, caller: str) -> tuple[tuple[str, str], ...]:
        """What a caller says of itself: a role, and of a person over TLS the token."""
        says = ((ROLE_KEY, caller),)
        return (*says, (AUTHORIZATION_KEY, BEARER + self.token)) if caller == "client" and self.token else says

    def raw_channel(self, role: str, caller: str) -> grpc.aio.Channel:
        """A channel to the service of a role with nothing of ours on it but, over TLS, the caller's certificate.

        `nobody` has a client's, and no token.
        """
        proof = self.proof("client" if caller == "nobody" else caller)
        if proof is None:
            return grpc.aio.insecure_channel(self.addresses[role])
        return grpc.aio.secure_channel(self.addresses[role], proof.for_channel())


async def _until_still(learner: LearnerService) -> None:
    """A killed process writes nothing more; of this one, the step and the checkpoint that are under way end first."""
    async with asyncio.timeout(SECONDS):
        await asyncio.to_thread(learner._torch._executor.shutdown)
        if learner._leader is not None:
            await asyncio.to_thread(learner._leader.wait_for_checkpoint)


_BUILDERS: dict[str, Callable[[ServiceContext], Service]] = {
    "controller": build_controller,
    "replay": build_replay,
    "verifier": build_verifier,
    "generator": lambda context: GeneratorService(context, Starter(CopyingEngine())),
    "learner": build_learner,
}


@asynccontextmanager
async def live_mesh(settings: RunSettings, token: str = "") -> AsyncIterator[LiveMesh]:
    """Every service, until left; the end is abrupt, as far as one process allows."""
    async with asyncio.TaskGroup() as tasks:
        mesh = LiveMesh(settings, tasks=tasks, token=token)
        try:
            for role in _BUILDERS:
                await mesh.start(role)
            yield mesh
        finally:
            for role in reversed(list(mesh.serving)):
                await mesh.stop(role)
