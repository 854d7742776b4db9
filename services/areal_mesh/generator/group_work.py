"""One group's way through the generator: render, sample, verify, assemble, append; and how it ended.

Calls to the verifier and the replay buffer outlive a restart of either. Whatever goes wrong with a group ends that
group, with the reason; only a dead engine ends more.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import grpc.aio
import structlog

from areal_mesh.generator.assembly import build_group, check_completions, graded_group, verify_items
from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.filters.table import NO_FILTERS, FilterChain
from areal_mesh.generator.leases import GroupEnd
from areal_mesh.generator.progress import GeneratingClock
from areal_mesh.generator.values import Completion, Sampling
from areal_mesh.prompts.renderer import PromptRefused, PromptRenderer
from areal_mesh.runtime.calling import Members, Patience
from areal_mesh.runtime.groups import oldest_policy_version
from areal_mesh.runtime.settings import GeneratorSettings
from areal_mesh.v1 import controller_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2, verifier_pb2, verifier_pb2_grpc

T = TypeVar("T")
_LOG = structlog.get_logger("rollout")
# The engine samples response i with seed + i, which has to stay within what torch takes.
_SEEDS = 1 << 62


class Sampler(Protocol):
    """The part of the engine that samples."""

    async def generate(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str
    ) -> tuple[Completion, ...]:
        """Draws a group's responses; cancelling the caller aborts the request."""


class VerdictsStayErrors(Exception):
    """Some responses were not graded, however often they were sent."""


@dataclass(frozen=True)
class GroupWork:
    """Takes groups through, any number at once.

    `tokenizer_thread` has one thread: a tokenizer is not safe to use from several, and a long text would hold the
    event loop.
    """

    sampler: Sampler
    renderer: PromptRenderer
    members: Members
    settings: GeneratorSettings
    tokenizer_thread: Executor
    clock: GeneratingClock
    filters: FilterChain = NO_FILTERS

    async def complete(self, lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        """Works on a group until its end; calls `given` as the engine is given its responses.

        Raises:
            EngineDied: no group can be sampled any more.
        """
        try:
            return await self._complete(lease, given)
        except (PromptRefused, VerdictsStayErrors) as error:
            return GroupEnd(controller_pb2.LEASE_END_FILTERED, str(error))
        except EngineDied:
            raise
        except Exception as error:  # noqa: BLE001 a group's failure is its own: it ends with the reason
            _LOG.error("group failed", group=lease.group_id, attempt=lease.attempt, exc_info=error)
            return GroupEnd(controller_pb2.LEASE_END_FAILED, f"{type(error).__name__}: {error}")

    async def _complete(self, lease: controller_pb2.Lease, given: Callable[[], None]) -> GroupEnd:
        prompt_token_ids = await self._with_tokenizer(lambda: self.renderer.token_ids(lease.prompt))
        completions = await self._sample(lease, prompt_token_ids, given)
        texts = await self._with_tokenizer(
            lambda: [self.renderer.response_text(completion.token_ids.tolist()) for completion in completions]
        )
        verdicts = await self._verify(verify_items(lease, completions, texts))
        tokens = sum(len(completion.token_ids) for completion in completions)
        if reason := self.filters.reason(graded_group(completions, verdicts)):
            return GroupEnd(controller_pb2.LEASE_END_FILTERED, reason, response_tokens=tokens)
        group = build_group(lease, prompt_token_ids, completions, verdicts)
        await self._append(group, lease.seal)
        return GroupEnd(
            controller_pb2.LEASE_END_STORED,
            oldest_policy_version=oldest_policy_version(group),
            response_tokens=tokens,
        )

    async def _sample(
        self, lease: controller_pb2.Lease, prompt_token_ids: Sequence[int], given: Callable[[], None]
    ) -> tuple[Completion, ...]:
        wanted = lease.sampling
        sampling = Sampling(
            responses=wanted.responses,
            max_response_tokens=wanted.max_response_tokens,
            temperature=wanted.temperature,
            top_p=wanted.top_p,
            seed=wanted.seed % _SEEDS,
        )
        self.clock.begin()
        try:
            # A lease that was lost may come back before the engine has dropped the first request.
            request_id = f"{lease.group_id}/{uuid.uuid4().hex}"
            given()
            completions = await self.sampler.generate(prompt_token_ids, sampling, request_id)
        finally:
            self.clock.end()
        check_completions(completions, wanted.responses)
        return completions

    async def _verify(self, items: Sequence[verifier_pb2.VerifyItem]) -> list[rollout_pb2.Verdict]:
        """A verdict for each item, none of them an error. Raises VerdictsStayErrors."""
        verdicts = await self._send_to_verifier(items)
        for _ in range(1, self.settings.verify_attempts):
            ungraded = _errors(verdicts)
            if not ungraded:
                break
            again = await self._send_to_verifier([items[index] for index in ungraded])
            for index, verdict in zip(ungraded, again, strict=True):
                verdicts[index] = verdict
        ungraded = _errors(verdicts)
        if ungraded:
            rules = ", ".join(sorted({verdicts[index].rule for index in ungraded}))
            raise VerdictsStayErrors(
                f"verifier error: {len(ungraded)} of {len(items)} responses ungraded after "
                f"{self.settings.verify_attempts} attempts ({rules})"
            )
        return verdicts

    async def _send_to_verifier(self, items: Sequence[verifier_pb2.VerifyItem]) -> list[rollout_pb2.Verdict]:
        request = verifier_pb2.VerifyRequest(items=items)

        async def send(channel: grpc.aio.Channel, seconds: float) -> verifier_pb2.VerifyResponse:
            stub: verifier_pb2_grpc.VerifierServiceAsyncStub = verifier_pb2_grpc.VerifierServiceStub(channel)
            return await stub.Verify(request, timeout=seconds)

        response = await self.members.call("verifier", send, Patience(self.settings.verify_seconds))
        if len(response.verdicts) != len(items):
            raise ValueError(f"the verifier gave {len(response.verdicts)} verdicts for {len(items)} responses")
        return list(response.verdicts)

    async def _append(self, group: rollout_pb2.Group, seal: bytes) -> None:
        request = replay_pb2.AppendGroupRequest(group=group, lease_seal=seal)

        async def send(channel: grpc.aio.Channel, seconds: float) -> replay_pb2.AppendGroupResponse:
            stub: replay_pb2_grpc.ReplayServiceAsyncStub = replay_pb2_grpc.ReplayServiceStub(channel)
            return await stub.AppendGroup(request, timeout=seconds)

        response = await self.members.call("replay", send, Patience(self.settings.append_seconds))
        if response.duplicate:
            _LOG.info("the group was stored before", group=group.group_id)

    async def _with_tokenizer(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self.tokenizer_thread, work)


def _errors(verdicts: Sequence[rollout_pb2.Verdict]) -> list[int]:
    """Positions of verdicts that are neither correct nor incorrect."""
    graded = (rollout_pb2.VERDICT_STATUS_CORRECT, rollout_pb2.VERDICT_STATUS_INCORRECT)
    return [index for index, verdict in enumerate(verdicts) if verdict.status not in graded]
