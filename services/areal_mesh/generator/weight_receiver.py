"""The receiving end of a publish as RPCs: prepare, receive, abort.

One publish at a time. Each call is idempotent by version and transfer id: sent again, it answers as before and does
nothing twice. A publish that tears the weights, or whose digests cannot be taken, leaves the generator without weights
until a later one succeeds. A transfer once begun runs to its end, whatever becomes of the call: a deadline that cut it
off between freezing and resuming would leave generation frozen. An engine that fails `FAILURES_ENDURED` publishes in a
row may never take weights again: that ends the service, for its supervisor to start it anew.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import structlog

from areal_mesh.generator.engine import WeightUpdateFailed
from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.progress import GeneratingClock
from areal_mesh.generator.values import PublishReport
from areal_mesh.runtime.durations import to_duration
from areal_mesh.runtime.errors import MeshError, aborted, failed_precondition, unavailable
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.transfer_key import require_transfer_key
from areal_mesh.v1 import generator_pb2
from areal_mesh.weights.errors import PeersMissing
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.messages import decode_group, decode_manifest, encode_digests

_LOG = structlog.get_logger("publish")
NO_VERSION = -1
FAILURES_ENDURED = 3
"""Receives failed in a row that end the service."""


class WeightsNeverCome(RuntimeError):
    """The engine took no weights, time after time. Only a new engine helps."""


class WeightReceiver(Protocol):
    """The part of the engine that receives weights."""

    async def prepare(self, group: Group, first_rank: int) -> None:
        """Joins the group, unless it is in it. Raises PeersMissing where others have not come."""

    async def transfer(self, manifest: WeightManifest) -> PublishReport:
        """Receives the manifest's weights. Raises WeightUpdateFailed."""

    async def digests(self) -> list[dict[str, str]]:
        """Digests by worker, by tensor."""


@dataclass(frozen=True)
class _Prepared:
    """A publish that was announced."""

    manifest: WeightManifest
    transfer_id: str


@dataclass
class WeightReceiverServicer:
    """Serves the calls of a publish. Weights can come while `serve` holds."""

    clock: GeneratingClock
    weights_came: Callable[[], None]
    """Called after each publish received."""
    standing: HeardStanding
    """By what the run's controller is known."""
    policy_version: int = NO_VERSION
    """The version held, whole, as the learner published it and digested where that was asked; -1 for none."""
    pause_seconds: float = 0.0
    """In all: freezing, transfer and resuming of every publish."""
    transfer_seconds: float = 0.0
    received: int = 0
    """Publishes received."""
    _receiver: WeightReceiver | None = None
    _tasks: asyncio.TaskGroup | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _prepared: _Prepared | None = None
    _failures: int = 0
    """Receives failed in a row."""
    _useless: asyncio.Event = field(default_factory=asyncio.Event)
    _cause: str = ""
    """Why the last of them failed; no exception, whose frames would keep vLLM's client alive after its end."""
    _last: tuple[int, str, generator_pb2.ReceiveWeightsResponse] | None = None
    """Version and transfer id of the last publish received, and what was answered."""

    @asynccontextmanager
    async def serve(self, receiver: WeightReceiver) -> AsyncIterator[None]:
        """Lets weights come; ends when the transfer under way has.

        Raises, within a group, EngineDied when the engine dies under a transfer, WeightsNeverCome (see the module).
        """
        async with asyncio.TaskGroup() as tasks:
            watch = tasks.create_task(self._end_when_useless())
            self._receiver, self._tasks = receiver, tasks
            try:
                yield
            finally:
                self._receiver = self._tasks = None
                watch.cancel()

    async def PrepareWeights(
        self, request: generator_pb2.PrepareWeightsRequest, context: Any
    ) -> generator_pb2.PrepareWeightsResponse:
        """Joins the group, if it is a new one; generation goes on."""
        await require_transfer_key(self.standing, request.transfer_key)
        manifest, group = decode_manifest(request.manifest), decode_group(request.group)
        wanted = _Prepared(manifest, request.transfer_id)
        async with self._lock:
            if self._prepared == wanted or self._answer_of(manifest.version, request.transfer_id):
                return generator_pb2.PrepareWeightsResponse()
            self._prepared = None
            receiver, _ = self._require_serving()
            try:
                await receiver.prepare(group, request.group.rank)
            except PeersMissing as error:
                raise failed_precondition(str(error)) from error
            except (RuntimeError, TimeoutError) as error:
                raise aborted(f"transfer {request.transfer_id} was not joined: {error}") from error
            self._prepared = wanted
        return generator_pb2.PrepareWeightsResponse()

    async def ReceiveWeights(
        self, request: generator_pb2.ReceiveWeightsRequest, context: Any
    ) -> generator_pb2.ReceiveWeightsResponse:
        """Freezes requests, receives the version, continues on it."""
        await require_transfer_key(self.standing, request.transfer_key)
        receiver, tasks = self._require_serving()
        result = await asyncio.shield(tasks.create_task(self._receive(receiver, request)))
        if isinstance(result, MeshError):
            raise result
        return result

    async def AbortWeights(
        self, request: generator_pb2.AbortWeightsRequest, context: Any
    ) -> generator_pb2.AbortWeightsResponse:
        """Forgets a publish that was prepared. One under way ends by itself once the learner has left the group."""
        await require_transfer_key(self.standing, request.transfer_key)
        prepared = self._prepared
        if prepared is not None and prepared.transfer_id == request.transfer_id:
            _LOG.info("publish aborted", version=prepared.manifest.version, reason=request.reason)
            self._prepared = None
        return generator_pb2.AbortWeightsResponse()

    async def _receive(
        self, receiver: WeightReceiver, request: generator_pb2.ReceiveWeightsRequest
    ) -> generator_pb2.ReceiveWeightsResponse | MeshError:
        """The answer, or the error to answer with: raised here, it would end the service."""
        async with self._lock:
            answer = self._answer_of(request.policy_version, request.transfer_id)
            if answer is not None:
                return answer
            prepared, self._prepared = self._prepared, None
            asked = (request.policy_version, request.transfer_id)
            if prepared is None or (prepared.manifest.version, prepared.transfer_id) != asked:
                self._prepared = prepared
                return failed_precondition(
                    f"version {asked[0]} in transfer {asked[1]!r} is not prepared; call PrepareWeights first"
                )
            try:
                response = await self._adopt(receiver, prepared.manifest, request.digests)
            except EngineDied:
                raise
            except Exception as error:  # noqa: BLE001 counted, logged and answered with
                return self._failed(prepared.manifest.version, error)
            self._last = (request.policy_version, request.transfer_id, response)
            return response

    async def _adopt(
        self, receiver: WeightReceiver, manifest: WeightManifest, with_digests: bool
    ) -> generator_pb2.ReceiveWeightsResponse:
        """Receives a version, digests it if asked, and only then says that it is held."""
        report = await self._transfer(receiver, manifest)
        digests = await receiver.digests() if with_digests else []
        self.policy_version = manifest.version
        self.received += 1
        self._failures = 0
        self.weights_came()
        return _response(report, digests)

    async def _transfer(self, receiver: WeightReceiver, manifest: WeightManifest) -> PublishReport:
        self.clock.freeze(True)
        try:
            report = await receiver.transfer(manifest)
        except WeightUpdateFailed as error:
            # Torn weights generate nothing: the engine stays frozen until whole ones come.
            self.clock.freeze(not error.intact)
            raise
        self.clock.freeze(False)
        self.pause_seconds += report.pause_seconds + report.transfer_seconds + report.resume_seconds
        self.transfer_seconds += report.transfer_seconds
        return report

    def _failed(self, version: int, error: Exception) -> MeshError:
        """What to answer with. Only a transfer that failed intact leaves the former version held."""
        if not (isinstance(error, WeightUpdateFailed) and error.intact):
            self.policy_version, self._last = NO_VERSION, None
        self._failures += 1
        self._cause = str(error) or repr(error)
        _LOG.error("publish failed", version=version, cause=self._cause, failures_in_a_row=self._failures)
        if self._failures >= FAILURES_ENDURED:
            self._useless.set()
        return aborted(self._cause)

    async def _end_when_useless(self) -> None:
        await self._useless.wait()
        raise WeightsNeverCome(
            f"{self._failures} publishes in a row were not received, so the engine is given up; the last: {self._cause}"
        )

    def _answer_of(self, version: int, transfer_id: str) -> generator_pb2.ReceiveWeightsResponse | None:
        if self._last is None or self._last[:2] != (version, transfer_id):
            return None
        return self._last[2]

    def _require_serving(self) -> tuple[WeightReceiver, asyncio.TaskGroup]:
        if self._receiver is None or self._tasks is None:
            raise unavailable("the engine is starting or stopping; it takes no weights")
        return self._receiver, self._tasks


def _response(report: PublishReport, digests: Sequence[dict[str, str]]) -> generator_pb2.ReceiveWeightsResponse:
    return generator_pb2.ReceiveWeightsResponse(
        pause=to_duration(report.pause_seconds),
        transfer=to_duration(report.transfer_seconds),
        resume=to_duration(report.resume_seconds),
        digests=[generator_pb2.WorkerDigests(tensors=encode_digests(worker)) for worker in digests],
    )
