"""Servicers of the contracts around a generator, as far as its tests need them, and an engine without a model."""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from areal_mesh.generator.engine import WeightUpdateFailed
from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.values import Completion, EngineStats, Piece, PublishReport, Sampling, VersionSpan
from areal_mesh.prompts.renderer import AddedToken
from areal_mesh.runtime.errors import MeshError
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.v1 import (
    common_pb2,
    controller_pb2,
    controller_pb2_grpc,
    replay_pb2,
    replay_pb2_grpc,
    rollout_pb2,
    verifier_pb2,
    verifier_pb2_grpc,
)
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest

END_TOKEN = 0
DEADLINE = 20.0


class Changes:
    """Lets a test wait until something holds that a servicer records."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def note(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class CharacterTokenizer:
    """One token a character; token 0 ends a response."""

    bos_token_id: int | None = None
    eos_token_id: int | None = END_TOKEN
    unk_token_id: int | None = None
    added_tokens_decoder: Mapping[int, AddedToken] = {}

    def apply_chat_template(
        self, conversation: list[dict[str, str]], *, tokenize: bool, add_generation_prompt: bool, **kwargs: Any
    ) -> str:
        return conversation[0]["content"]

    def encode(self, text: str, *, add_special_tokens: bool, split_special_tokens: bool = False) -> list[int]:
        return [ord(character) for character in text]

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        return "".join(chr(token) for token in token_ids if token != END_TOKEN or not skip_special_tokens)


class SimulatedEngine:
    """Answers each prompt with its own text, response i repeated i + 1 times; stamps the version it holds."""

    def __init__(self) -> None:
        self.version = -1
        self.end_token_ids: tuple[int, ...] = ()
        self.tokens = 0
        self.sampled: list[tuple[str, Sampling]] = []
        self.broken_prompts: set[str] = set()
        self.gate: asyncio.Event | None = None
        self.stream_gate: asyncio.Semaphore | None = None
        self.streams_ended = 0
        self.failure: WeightUpdateFailed | None = None
        self.transfers: list[int] = []
        self.transfer_gate: asyncio.Event | None = None
        self.digest_gate: asyncio.Event | None = None
        self.digest_failure: Exception | None = None
        self.died = asyncio.Event()
        self.shut_down = False
        self.changes = Changes()

    async def generate(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str
    ) -> tuple[Completion, ...]:
        problem = "".join(chr(token) for token in prompt_token_ids)
        self.sampled.append((problem, sampling))
        self.changes.note()
        if problem in self.broken_prompts:
            raise ValueError(f"cannot sample {problem}")
        if self.gate is not None:
            await self.gate.wait()
        completions = []
        for index in range(sampling.responses):
            ids = np.asarray([*list(prompt_token_ids) * (index + 1), END_TOKEN], dtype=np.int32)
            self.tokens += len(ids)
            log_probs = np.full(len(ids), -0.25, dtype=np.float32)
            completions.append(Completion(ids, log_probs, (VersionSpan(self.version, 0, len(ids)),), "stop"))
        return tuple(completions)

    async def stream(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str
    ) -> AsyncGenerator[Piece]:
        """What `generate` answers, token by token, each response's after the one before; `gate` opens each."""
        try:
            for response, whole in enumerate(await self.generate(prompt_token_ids, sampling, request_id)):
                for at in range(len(whole.token_ids)):
                    last = at == len(whole.token_ids) - 1
                    if self.stream_gate is not None:
                        await self.stream_gate.acquire()
                    yield Piece(
                        response,
                        whole.token_ids[at : at + 1],
                        whole.log_probs[at : at + 1],
                        whole.version_spans if last else (),
                        whole.finish_reason if last else "",
                    )
        finally:
            self.streams_ended += 1
            self.changes.note()

    async def prepare(self, group: Group, first_rank: int) -> None:
        self.prepared = (group, first_rank)

    async def transfer(self, manifest: WeightManifest) -> PublishReport:
        self.transfers.append(manifest.version)
        self.changes.note()
        if self.transfer_gate is not None:
            await self.transfer_gate.wait()
        if self.failure is not None:
            raise self.failure
        self.version = manifest.version
        return PublishReport(0.25, 0.5, 0.125, manifest.num_bytes, 0.4, 0.1)

    async def digests(self) -> list[dict[str, str]]:
        self.changes.note()
        if self.digest_gate is not None:
            await self.digest_gate.wait()
        if self.digest_failure is not None:
            raise self.digest_failure
        return [{"tp0:w": f"digest of {self.version}"}]

    def stats(self) -> EngineStats:
        return EngineStats(0, 0, 0.0, self.tokens, self.version, False)

    def notify(self, on_step: Callable[[], None]) -> None:
        self.on_step = on_step

    async def watch(self) -> None:
        await self.died.wait()
        raise EngineDied("the simulated engine died")

    def shutdown(self) -> None:
        self.shut_down = True


class Controller(controller_pb2_grpc.ControllerServiceServicer):
    """Issues planned prompts once each, knows members by role, records how leases end."""

    def __init__(self) -> None:
        self.waiting: deque[controller_pb2.Lease] = deque()
        self.addresses: dict[int, str] = {}
        self.ends: dict[str, controller_pb2.EndLeaseRequest] = {}
        self.finds: defaultdict[int, int] = defaultdict(int)
        self.polls = 0
        self.changes = Changes()

    def plan(self, *problems: str) -> None:
        for problem in problems:
            lease = controller_pb2.Lease(
                group_id=f"group-{problem}",
                prompt=rollout_pb2.Prompt(prompt_id=problem, problem=problem, gold_answers=[problem]),
                sampling=rollout_pb2.Sampling(responses=2, temperature=0.6, top_p=1, max_response_tokens=32, seed=7),
                stage=common_pb2.Stage(index=0, name="8", max_response_tokens=32),
            )
            self.waiting.append(lease)
        self.changes.note()

    def end_of(self, problem: str) -> controller_pb2.EndLeaseRequest | None:
        return self.ends.get(f"group-{problem}")

    async def LeaseGroups(
        self, request: controller_pb2.LeaseGroupsRequest, context: Any
    ) -> controller_pb2.LeaseGroupsResponse:
        self.polls += 1
        self.changes.note()
        taken = [self.waiting.popleft() for _ in range(min(request.max_groups, len(self.waiting)))]
        return controller_pb2.LeaseGroupsResponse(leases=taken)

    async def EndLease(self, request: controller_pb2.EndLeaseRequest, context: Any) -> controller_pb2.EndLeaseResponse:
        assert request.group_id not in self.ends, f"{request.group_id} ended twice"
        self.ends[request.group_id] = request
        self.changes.note()
        return controller_pb2.EndLeaseResponse()

    async def FindMembers(
        self, request: controller_pb2.FindMembersRequest, context: Any
    ) -> controller_pb2.FindMembersResponse:
        self.finds[request.role] += 1
        self.changes.note()
        if request.role not in self.addresses:
            return controller_pb2.FindMembersResponse()
        member = controller_pb2.Member(
            service_id="m", address=self.addresses[request.role], state=common_pb2.SERVICE_STATE_SERVING
        )
        return controller_pb2.FindMembersResponse(members=[member])


class Verifier(verifier_pb2_grpc.VerifierServiceServicer):
    """Correct where the response is its gold answer. Responses in `errors` are errors so many times."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.errors: dict[str, int] = {}
        self.gate: asyncio.Event | None = None
        self.refusals: deque[MeshError] = deque()
        self.changes = Changes()

    async def Verify(self, request: verifier_pb2.VerifyRequest, context: Any) -> verifier_pb2.VerifyResponse:
        self.batches.append([item.response for item in request.items])
        self.changes.note()
        if self.gate is not None:
            await self.gate.wait()
        if self.refusals:
            raise self.refusals.popleft()
        return verifier_pb2.VerifyResponse(verdicts=[self._verdict(item) for item in request.items])

    def _verdict(self, item: verifier_pb2.VerifyItem) -> rollout_pb2.Verdict:
        if self.errors.get(item.response, 0) > 0:
            self.errors[item.response] -= 1
            return rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_ERROR, rule="deadline")
        if item.response in item.gold_answers:
            return rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_CORRECT, reward=5, rule="text")
        return rollout_pb2.Verdict(status=rollout_pb2.VERDICT_STATUS_INCORRECT, reward=-5, rule="text")


class Replay(replay_pb2_grpc.ReplayServiceServicer):
    """Keeps groups by id."""

    def __init__(self) -> None:
        self.groups: dict[str, rollout_pb2.Group] = {}
        self.refusals: deque[MeshError] = deque()
        self.changes = Changes()

    async def AppendGroup(self, request: replay_pb2.AppendGroupRequest, context: Any) -> replay_pb2.AppendGroupResponse:
        if self.refusals:
            raise self.refusals.popleft()
        duplicate = request.group.group_id in self.groups
        self.groups[request.group.group_id] = request.group
        self.changes.note()
        return replay_pb2.AppendGroupResponse(duplicate=duplicate)


async def serve(servicer: Any, listen: str = "127.0.0.1:0") -> MeshServer:
    """A server of one of the servicers above."""
    registrations: dict[type, tuple[str, Callable[[Any, Any], None]]] = {
        Controller: ("ControllerService", controller_pb2_grpc.add_ControllerServiceServicer_to_server),
        Verifier: ("VerifierService", verifier_pb2_grpc.add_VerifierServiceServicer_to_server),
        Replay: ("ReplayService", replay_pb2_grpc.add_ReplayServiceServicer_to_server),
    }
    name, register = registrations[type(servicer)]
    server = MeshServer(listen)
    server.add(register, servicer, f"areal_mesh.v1.{name}")
    await server.start()
    await server.set_serving(True)
    return server


def run_settings(folder: Path, algorithm: Mapping[str, Any] | None = None, **generator: Any) -> RunSettings:
    """Settings of a run whose model folder exists."""
    (folder / "config.json").write_text("{}")
    return RunSettings.model_validate(
        {
            "name": "test",
            "directory": folder,
            "stages": [{"name": "8", "max_response_tokens": 32, "max_steps": 1}],
            "algorithm": {"batch_groups": 4, "responses": 2, **(algorithm or {})},
            "model": {"folder": folder},
            "prompts": {"file": folder / "prompts.jsonl", "max_prompt_tokens": 8},
            "generator": {"device": "cpu", "drain_seconds": 5.0, **generator},
            "learner": {"device": "cpu"},
            "weights": {"transport": {"type": "gloo"}},
        }
    )
