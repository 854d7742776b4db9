"""The replay service: checks requests, asks the buffer, answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.drawing import StepReleased
from areal_mesh.replay.events import GroupSummary
from areal_mesh.replay.log import LogBroken
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.replay.segments import LogFull
from areal_mesh.replay.validation import LARGEST_VERSION, check_group
from areal_mesh.runtime.errors import (
    failed_precondition,
    invalid_argument,
    resource_exhausted,
    unavailable,
)
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import Service, ServiceContext
from areal_mesh.runtime.settings import ReplaySettings
from areal_mesh.v1 import common_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2

# A full disk is cleared by a person or by the next checkpoint.
_DISK_RETRY_SECONDS = 5.0


def build(context: ServiceContext) -> Service:
    """The replay service of a run."""
    return ReplayService(context.settings.replay, context.run_directory / "replay")


class ReplayService(replay_pb2_grpc.ReplayServiceServicer):
    """ReplayService over a buffer in one directory."""

    transfer_ranks = 0

    def __init__(self, settings: ReplaySettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._opened: ReplayBuffer | None = None
        self._policy_version = 0
        self._draining = False
        self._reported = (time.monotonic(), 0)
        self._progress = time.monotonic()

    def attach(self, server: MeshServer) -> None:
        """Adds the servicer."""
        server.add(replay_pb2_grpc.add_ReplayServiceServicer_to_server, self, "areal_mesh.v1.ReplayService")

    async def start(self) -> None:
        """Opens the log and recovers the state from it.

        Raises:
            StartupError: the directory is in use, or its log is damaged.
        """
        settings = self._settings
        self._opened = await asyncio.to_thread(
            ReplayBuffer, self._directory, settings.waiting_bytes, settings.segment_bytes, settings.durability
        )

    async def run(self, draining: asyncio.Event) -> None:
        """Serves until `draining` is set; raises what breaks the log."""
        buffer = self._buffer
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(buffer.watch())
            await draining.wait()
            watching.cancel()
        self._draining = True
        buffer.drain()

    def report(self) -> HeartbeatReport:
        """Groups stored a second since the last report, and what the buffer holds."""
        statistics = self._buffer.statistics(self._policy_version)
        now, stored = time.monotonic(), self._buffer.stored
        (before, stored_before), self._reported = self._reported, (now, stored)
        if stored > stored_before:
            self._progress = now
        state = common_pb2.SERVICE_STATE_DRAINING if self._draining else common_pb2.SERVICE_STATE_SERVING
        return HeartbeatReport(
            state=state,
            rate=(stored - stored_before) / max(now - before, 1e-3),
            rate_unit="groups",
            seconds_since_progress=now - self._progress,
            fault=self._buffer.full,
            metrics={
                "waiting_groups": statistics.waiting_groups,
                "waiting_bytes": statistics.waiting_bytes,
                "consumed_groups": statistics.consumed_groups,
                "bytes_on_disk": statistics.bytes_on_disk,
                "stored_groups": stored,
            },
        )

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """The replay buffer holds no leases."""

    async def close(self) -> None:
        """Closes the log."""
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    async def AppendGroup(self, request: replay_pb2.AppendGroupRequest, context: Any) -> replay_pb2.AppendGroupResponse:
        group, payload = await asyncio.to_thread(_check_and_serialise, request.group)
        with _as_statuses():
            duplicate = await self._buffer.append(group, payload)
        return replay_pb2.AppendGroupResponse(duplicate=duplicate)

    async def DrawBatch(
        self, request: replay_pb2.DrawBatchRequest, context: Any
    ) -> AsyncIterator[replay_pb2.DrawBatchResponse]:
        _at_least(request, step=1, batch_groups=1, policy_version=0, max_staleness=0)
        wait_seconds = request.wait.ToNanoseconds() / 1e9
        if wait_seconds < 0:
            raise invalid_argument("wait", f"{wait_seconds} s is negative; 0 asks without waiting")
        with _as_statuses():
            self._policy_version = max(self._policy_version, request.policy_version)
            drawn = await self._buffer.draw(
                request.step, request.batch_groups, request.policy_version, request.max_staleness, wait_seconds
            )
            group_ids = drawn.group_ids or ()
            header = replay_pb2.DrawHeader(
                complete=drawn.group_ids is not None, stale_group_ids=drawn.stale_group_ids, groups=len(group_ids)
            )
            yield replay_pb2.DrawBatchResponse(header=header)
            for group_id in group_ids:
                response = replay_pb2.DrawBatchResponse()
                response.group.MergeFromString(await self._buffer.read(group_id))
                yield response

    async def EvictStale(self, request: replay_pb2.EvictStaleRequest, context: Any) -> replay_pb2.EvictStaleResponse:
        _at_least(request, policy_version=0, max_staleness=0)
        with _as_statuses():
            stale = await self._buffer.evict(request.policy_version, request.max_staleness)
        return replay_pb2.EvictStaleResponse(group_ids=stale)

    async def ReleaseSteps(
        self, request: replay_pb2.ReleaseStepsRequest, context: Any
    ) -> replay_pb2.ReleaseStepsResponse:
        _at_least(request, step=0)
        with _as_statuses():
            await self._buffer.release(request.step)
        return replay_pb2.ReleaseStepsResponse()

    async def FindGroups(self, request: replay_pb2.FindGroupsRequest, context: Any) -> replay_pb2.FindGroupsResponse:
        stored = [
            replay_pb2.StoredGroup(
                group_id=group.group_id,
                oldest_policy_version=group.oldest_policy_version,
                stale=group.dropped_version >= 0,
            )
            for group in self._buffer.find(request.group_ids)
        ]
        return replay_pb2.FindGroupsResponse(groups=stored)

    async def GetReplayStatistics(
        self, request: replay_pb2.GetReplayStatisticsRequest, context: Any
    ) -> replay_pb2.GetReplayStatisticsResponse:
        _at_least(request, policy_version=0)
        version = min(request.policy_version, LARGEST_VERSION)
        statistics = self._buffer.statistics(version)
        return replay_pb2.GetReplayStatisticsResponse(
            waiting_groups=statistics.waiting_groups,
            waiting_bytes=statistics.waiting_bytes,
            consumed_groups=statistics.consumed_groups,
            bytes_on_disk=statistics.bytes_on_disk,
            bytes_limit=statistics.bytes_limit,
            staleness=statistics.staleness,
            dropped=statistics.dropped,
            last_drawn_step=statistics.last_drawn_step,
            released_step=statistics.released_step,
        )

    @property
    def _buffer(self) -> ReplayBuffer:
        if self._opened is None:
            raise unavailable("the replay buffer still reads its log")
        return self._opened


def _check_and_serialise(group: rollout_pb2.Group) -> tuple[GroupSummary, bytes]:
    return check_group(group), group.SerializeToString()


def _at_least(request: Any, **smallest: int) -> None:
    for field, bound in smallest.items():
        value = getattr(request, field)
        if value < bound:
            raise invalid_argument(field, f"{value} is less than {bound}")


@contextmanager
def _as_statuses() -> Iterator[None]:
    """Errors of the buffer as gRPC statuses."""
    try:
        yield
    except StepReleased as error:
        raise failed_precondition(f"{error}; load a later checkpoint") from error
    except LogFull as error:
        raise resource_exhausted(str(error), _DISK_RETRY_SECONDS) from error
    except LogBroken as error:
        raise unavailable("the replay buffer lost its disk and starts again; its log says why") from error
    except CorruptLog as error:
        raise unavailable(f"the replay buffer reads its log anew: {error}") from error
