"""vLLM's `AsyncLLM` as the generator uses it: sample with exact log-probabilities, swap weights under way.

One engine in one event loop. Requests in flight are frozen during a publish and continue on the new weights, over the
KV-cache of the old ones; the engine stamps each token with the version that produced it. vLLM is imported when an
engine starts, not before.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Any, Self

from areal_mesh.generator.engine_process import CALL_SECONDS, EngineDied, EngineProcess
from areal_mesh.generator.values import Completion, EngineStats, Piece, PublishReport, Sampling
from areal_mesh.generator.vllm_arguments import context_tokens
from areal_mesh.generator.vllm_requests import completion_of, piece_of, sampling_params
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.telemetry import note_phase
from areal_mesh.weights.errors import PeersMissing, TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.worker_digests import merge_digests


class WeightUpdateFailed(RuntimeError):
    """A publish did not complete."""

    def __init__(self, version: int, intact: bool, cause: str) -> None:
        self.intact = intact
        """True: the former weights are whole and generation went on. False: they are part old, part new, or new under
        the old label, or nobody knows; only a publish that succeeds makes them usable, and unfreezes generation."""
        state = "the former weights are kept" if intact else "the weights are torn; generation stays frozen"
        super().__init__(f"weights of version {version} were not received, {state}: {cause}")


class Engine:
    """See the module. Built by `start`; every method raises EngineDied once the engine's process is gone."""

    def __init__(self, vllm: EngineProcess, settings: RunSettings, end_token_ids: Sequence[int], version: int) -> None:
        self._settings = settings
        self._end_token_ids = list(end_token_ids)
        self._vllm = vllm
        self._version = version
        self._group: Group | None = None
        self._publishing = asyncio.Lock()
        self._held = False
        self._torn = False

    @classmethod
    async def start(cls, settings: RunSettings, end_token_ids: Sequence[int], initial_version: int) -> Self:
        """Load the model folder's weights as version `initial_version`; tens of seconds, the event loop goes on.

        A response ends at any of `end_token_ids`; without one each is cut off at its limit.
        Raises what vLLM raises when it cannot start.
        """
        engine = cls(await EngineProcess.start(settings), settings, end_token_ids, initial_version)
        try:
            note_phase("trying a first token")
            await engine._vllm.call(engine._vllm.client.update_weight_version(str(initial_version)))
            # Starts vLLM's output handler in this event loop, and shows that the engine can generate.
            one_token = Sampling(responses=1, max_response_tokens=1, temperature=1.0, top_p=1.0)
            await engine.generate([0], one_token, "warm-up")
        except BaseException:
            engine.shutdown()
            raise
        return engine

    @property
    def policy_version(self) -> int:
        """Version of the weights held. After a torn publish, the last whole one."""
        return self._version

    async def generate(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str
    ) -> tuple[Completion, ...]:
        """Draw `sampling.responses` responses, which share the prompt's KV-cache; returns when the last has ended.

        Cancelling the caller aborts the request. Raises ValueError when the prompt leaves no room for a response.
        """
        final: Any = None
        async for output in self._outputs(prompt_token_ids, sampling, request_id, in_pieces=False):
            final = output
        return tuple(completion_of(output) for output in sorted(final.outputs, key=lambda output: output.index))

    async def stream(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str
    ) -> AsyncGenerator[Piece]:
        """As `generate`, token by token; closing the iterator aborts the request."""
        async with aclosing(self._outputs(prompt_token_ids, sampling, request_id, in_pieces=True)) as outputs:
            async for output in outputs:
                for piece in output.outputs:
                    yield piece_of(piece)

    async def _outputs(
        self, prompt_token_ids: Sequence[int], sampling: Sampling, request_id: str, in_pieces: bool
    ) -> AsyncGenerator[Any]:
        """vLLM's outputs of a request."""
        from vllm.inputs import tokens_input
        from vllm.v1.engine.exceptions import EngineDeadError

        context = context_tokens(self._settings)
        room = context - len(prompt_token_ids)
        if not prompt_token_ids or room < 1:
            raise ValueError(
                f"request {request_id}: a prompt of {len(prompt_token_ids)} tokens does not fit with a response into "
                f"the {context} tokens of prompts.max_prompt_tokens and the longest stage's max_response_tokens"
            )
        params = sampling_params(sampling, room, self._end_token_ids, in_pieces)
        # Without the salt, a prompt's KV-cache of older weights would be taken for the new version's.
        prompt = tokens_input(list(prompt_token_ids), cache_salt=str(self._version))
        try:
            async with aclosing(self._vllm.client.generate(prompt, params, request_id)) as outputs:
                async for output in outputs:
                    yield output
        except EngineDeadError as error:
            raise EngineDied("vLLM's engine process ended during generation; its own log says why") from error

    async def prepare(self, group: Group, first_rank: int) -> None:
        """Join a group, the workers taking ranks `first_rank` and following; generation goes on.

        Returns when all members have joined, at once for the group that the workers are in; another one is left.
        Raises TransferError after the group's timeout, PeersMissing where it was others who did not come.
        """
        if self._group == group:
            return
        self._group = None
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        from areal_mesh.weights.transports.table import build_transport

        transport = self._settings.weights.transport
        info = {
            "group_id": group.group_id,
            "endpoint": group.endpoint,
            "world_size": group.world_size,
            "timeout_seconds": group.timeout_seconds,
            "first_rank": first_rank,
            "transport": transport.model_dump(mode="json"),
        }
        await self._vllm.call(self._vllm.client.init_weight_transfer_engine(WeightTransferInitRequest(init_info=info)))
        ranks = range(first_rank, first_rank + self._settings.generator.transfer_ranks)
        meeting = build_transport(transport)
        await asyncio.to_thread(meeting.await_arrival, group, ranks)
        try:
            await asyncio.to_thread(meeting.await_joined, group, ranks)
        except TransferError as error:
            raise PeersMissing(str(error)) from error
        self._group = group

    async def transfer(self, manifest: WeightManifest) -> PublishReport:
        """Freeze requests, receive the manifest's weights from the prepared group, continue on them.

        Cancelling the caller does not cancel it: half a publish would leave the engine frozen.
        Raises WeightUpdateFailed; its `intact` says whether generation went on with the former weights.
        """
        return await asyncio.shield(self._transfer(manifest))

    async def _transfer(self, manifest: WeightManifest) -> PublishReport:
        async with self._publishing:
            begin = time.monotonic()
            try:
                await self._vllm.call(self._vllm.client.pause_generation(mode="keep", clear_cache=False))
                paused = time.monotonic()
                await self._receive(manifest)
                loaded = time.monotonic()
                self._version = manifest.version
                return await self._go_on(begin, paused, loaded)
            except EngineDied:
                raise
            except Exception as error:
                raise await self._failure(manifest.version, error) from error

    async def _go_on(self, begin: float, paused: float, loaded: float) -> PublishReport:
        self._torn = False
        try:
            await self._resume_unless_held()
            return await self._report(paused - begin, loaded - paused, time.monotonic() - loaded)
        except Exception:
            # Whether generation goes on is unknown; the former weights are gone in any case.
            self._torn = True
            raise

    async def _receive(self, manifest: WeightManifest) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        if self._group is None:
            raise TransferError("no group was joined; prepare a transfer first")
        tensors = [(spec.name, spec.dtype, list(spec.shape)) for spec in manifest.tensors]
        info = {"version": manifest.version, "tensors": tensors, "bucket_bytes": manifest.bucket_bytes}
        request = WeightTransferUpdateRequest(update_info=info)
        # Reaching the meeting, joining, the fingerprint and each bucket have the group's timeout for themselves.
        seconds = self._group.timeout_seconds * (3 + len(manifest.buckets())) + CALL_SECONDS
        await self._vllm.call(self._vllm.client.start_weight_update())
        try:
            await self._vllm.call(self._vllm.client.update_weights(request), seconds)
        except TimeoutError:
            # The worker may yet end with the new weights in place, and would then call itself whole.
            self._torn = True
            raise
        # The new weights are in place, still under the old label.
        self._torn = True
        await self._vllm.call(self._vllm.client.finish_weight_update(weight_version=str(manifest.version)))

    async def digests(self) -> list[dict[str, str]]:
        """Digests of the weights that each worker computes with, keyed `tp<rank>:<vLLM's name>`.

        vLLM's own digests; where a kernel holds a weight in a layout of its own, the digest of what was read back
        from that kernel instead (`docs/weights.md`). To be compared with the learner's `engine_digests`.
        """
        own = await self._vllm.call(self._vllm.client.compute_weight_checksums())
        kernels = await self._vllm.call(self._vllm.client.collective_rpc("kernel_weight_digests"))
        # Of several replicas only the first answers a named call; they are on GPUs, where the answer is empty.
        return [merge_digests(plain, kernel) for plain, kernel in zip(own, itertools.cycle(kernels), strict=False)]

    async def pause(self) -> None:
        """Freeze requests until `resume`; publishes meanwhile leave them frozen. Idempotent."""
        self._held = True
        await self._vllm.call(self._vllm.client.pause_generation(mode="keep", clear_cache=False))

    async def resume(self) -> None:
        """Continue frozen requests, unless the weights are torn. Idempotent."""
        self._held = False
        await self._resume_unless_held()

    def stats(self) -> EngineStats:
        """Load of the engine, as of its last step."""
        return self._vllm.stats(self._version, self._held or self._torn)

    def notify(self, on_step: Callable[[], None]) -> None:
        """Have `on_step` called after each step of the engine."""
        self._vllm.notify(on_step)

    async def watch(self) -> None:
        """Wait until the engine's process dies, then raise EngineDied. For the service's task group."""
        await self._vllm.watch()

    def shutdown(self) -> None:
        """End the engine's processes; blocks for seconds. Idempotent."""
        self._vllm.shutdown()

    async def _failure(self, version: int, error: Exception) -> WeightUpdateFailed:
        """Goes on with the former weights where the workers say that they are whole; what to raise."""
        self._group = None
        try:
            if not self._torn:
                states = await self._vllm.call(self._vllm.client.collective_rpc("transfer_state"))
                # Of several replicas only the first answers: the others may be torn.
                self._torn = any(state["torn"] for state in states) or self._settings.generator.data_parallel_size > 1
                await self._resume_unless_held()
        except EngineDied:
            raise
        except Exception as second:
            self._torn = True
            raise WeightUpdateFailed(version, False, f"{error}; then, asking what it holds: {second}") from second
        return WeightUpdateFailed(version, not self._torn, str(error))

    async def _resume_unless_held(self) -> None:
        if not self._held and not self._torn:
            await self._vllm.call(self._vllm.client.resume_generation())

    async def _report(self, pause: float, transfer: float, resume: float) -> PublishReport:
        states = await self._vllm.call(self._vllm.client.collective_rpc("transfer_state"))
        return PublishReport(
            pause_seconds=pause,
            transfer_seconds=transfer,
            resume_seconds=resume,
            num_bytes=max(state["num_bytes"] for state in states),
            receive_seconds=max(state["receive_seconds"] for state in states),
            load_seconds=max(state["load_seconds"] for state in states),
        )
