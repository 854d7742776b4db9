"""The replay service: checks requests, asks the buffer, answers."""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from areal_mesh.replay.buffer import ReplayBuffer
from areal_mesh.replay.callers import CallerChecks
from areal_mesh.replay.deadlines import DrawRequest
from areal_mesh.replay.drawing import NotInBatch, StepReleased
from areal_mesh.replay.events import WAS_SET_ASIDE, GroupSummary
from areal_mesh.replay.leased import GroupLimits, check_leased, check_limits, group_limits
from areal_mesh.replay.log import LogBroken
from areal_mesh.replay.segment_file import CorruptLog
from areal_mesh.replay.segments import LogFull
from areal_mesh.replay.validation import check_group
from areal_mesh.replay.wire import group_in_request, group_response
from areal_mesh.runtime.durations import from_duration
from areal_mesh.runtime.errors import (
    failed_precondition,
    invalid_argument,
    resource_exhausted,
    unavailable,
)
from areal_mesh.runtime.groups import newest_policy_version
from areal_mesh.runtime.interceptors import with_request_bytes
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import Service, ServiceContext
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.v1 import common_pb2, replay_pb2, replay_pb2_grpc, rollout_pb2

_LOG = structlog.get_logger("replay")
# A full disk is cleared by a person or by the next checkpoint.
_DISK_RETRY_SECONDS = 5.0
# The check of a group takes 0.3 ms a MiB: longer ones are checked beside the event loop.
_CHECKED_AT_ONCE_BYTES = 4 << 20
# The thread that writes and the one that serves hand the interpreter on more often than the 5 ms of the default.
_SWITCH_SECONDS = 5e-4


def build(context: ServiceContext) -> Service:
    """The replay service of a run."""
    return ReplayService(context.settings, context.run_directory / "replay", context.standing)


class ReplayService(replay_pb2_grpc.ReplayServiceServicer):
    """ReplayService over a buffer in one directory."""

    transfer_ranks = 0

    def __init__(self, settings: RunSettings, directory: Path, standing: HeardStanding) -> None:
        self._settings = settings
        self._directory = directory
        self._callers = CallerChecks(standing)
        self._limits = group_limits(settings)
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
        settings = self._settings.replay
        sys.setswitchinterval(_SWITCH_SECONDS)
        # The model's folder may have been made since.
        self._limits = await asyncio.to_thread(group_limits, self._settings)
        if self._limits.vocabulary is None:
            _LOG.warning(
                "no config.json here: token ids are checked by the learner alone",
                folder=str(self._settings.model.folder),
            )
        self._opened = await asyncio.to_thread(
            ReplayBuffer,
            self._directory,
            settings.waiting_bytes,
            settings.segment_bytes,
            settings.durability,
            settings.patience_seconds,
            settings.kept_bytes,
            settings.keep_released,
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
                "held_seconds": statistics.held_seconds,
            },
        )

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """The replay buffer holds no leases."""

    async def close(self) -> None:
        """Closes the log."""
        if self._opened is not None:
            await asyncio.to_thread(self._opened.close)

    @with_request_bytes
    async def AppendGroup(
        self, request: replay_pb2.AppendGroupRequest, context: Any, received: bytes = b""
    ) -> replay_pb2.AppendGroupResponse:
        key = await self._callers.lease_key()
        check_leased(request.group, request.lease_seal, key)
        payload = group_in_request(received) or request.group.SerializeToString()
        # A thread costs more than most checks.
        if len(payload) < _CHECKED_AT_ONCE_BYTES:
            group = _check(request.group, len(payload), self._limits)
        else:
            group = await asyncio.to_thread(_check, request.group, len(payload), self._limits)
        newest = newest_policy_version(request.group)
        if not await self._callers.version_exists(newest, self._buffer.last_drawn_step):
            raise invalid_argument(
                "group.responses", f"has tokens of version {newest}, which was never made in this run"
            )
        with _as_statuses():
            duplicate = await self._buffer.append(group, payload)
        return replay_pb2.AppendGroupResponse(duplicate=duplicate)

    async def DrawBatch(self, request: replay_pb2.DrawBatchRequest, context: Any) -> AsyncIterator[Any]:
        await self._callers.drawing(request)
        wait_seconds = from_duration(request.wait)
        with _as_statuses():
            self._policy_version = max(self._policy_version, request.policy_version)
            drawn = await self._buffer.draw(_draw_request(request), wait_seconds)
            group_ids = drawn.group_ids or ()
            header = replay_pb2.DrawHeader(
                complete=drawn.group_ids is not None, stale_group_ids=drawn.stale_group_ids, groups=len(group_ids)
            )
            yield replay_pb2.DrawBatchResponse(header=header)
            async for response in self._buffer.read(group_ids, group_response):
                yield response

    async def SetAside(self, request: replay_pb2.SetAsideRequest, context: Any) -> replay_pb2.SetAsideResponse:
        await self._callers.setting_aside(request)
        with _as_statuses():
            await self._buffer.set_aside(request.step, request.group_ids)
        _LOG.error("set aside: the learner cannot train on them", step=request.step, groups=list(request.group_ids))
        return replay_pb2.SetAsideResponse()

    async def EvictStale(self, request: replay_pb2.EvictStaleRequest, context: Any) -> replay_pb2.EvictStaleResponse:
        await self._callers.evicting(request, self._buffer.last_drawn_step)
        with _as_statuses():
            stale = await self._buffer.evict(request.policy_version, request.max_staleness)
        return replay_pb2.EvictStaleResponse(group_ids=stale)

    async def ReleaseSteps(
        self, request: replay_pb2.ReleaseStepsRequest, context: Any
    ) -> replay_pb2.ReleaseStepsResponse:
        await self._callers.releasing(request)
        with _as_statuses():
            await self._buffer.release(request.step)
        return replay_pb2.ReleaseStepsResponse()

    async def FindGroups(self, request: replay_pb2.FindGroupsRequest, context: Any) -> replay_pb2.FindGroupsResponse:
        stored = [
            replay_pb2.StoredGroup(
                group_id=group.group_id,
                oldest_policy_version=group.oldest_policy_version,
                stale=group.dropped_version >= 0,
                set_aside=group.dropped_version == WAS_SET_ASIDE,
            )
            for group in self._buffer.find(request.group_ids)
        ]
        return replay_pb2.FindGroupsResponse(groups=stored)

    async def GetReplayStatistics(
        self, request: replay_pb2.GetReplayStatisticsRequest, context: Any
    ) -> replay_pb2.GetReplayStatisticsResponse:
        statistics = self._buffer.statistics(request.policy_version)
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
            held_seconds=statistics.held_seconds,
        )

    @property
    def _buffer(self) -> ReplayBuffer:
        if self._opened is None:
            raise unavailable("the replay buffer still reads its log")
        return self._opened


def _draw_request(request: replay_pb2.DrawBatchRequest) -> DrawRequest:
    return DrawRequest(
        step=request.step,
        batch_groups=request.batch_groups,
        policy_version=request.policy_version,
        max_staleness=request.max_staleness,
        running={group.group_id: group.oldest_policy_version for group in request.running},
        published_version=request.published_version if request.HasField("published_version") else None,
    )


def _check(group: rollout_pb2.Group, size: int, limits: GroupLimits) -> GroupSummary:
    summary, numbers = check_group(group, size)
    check_limits(group, numbers, limits)
    return summary


@contextmanager
def _as_statuses() -> Iterator[None]:
    """Errors of the buffer as gRPC statuses."""
    try:
        yield
    except NotInBatch as error:
        raise failed_precondition(str(error)) from error
    except StepReleased as error:
        raise failed_precondition(f"{error}; load a later checkpoint") from error
    except LogFull as error:
        raise resource_exhausted(str(error), _DISK_RETRY_SECONDS) from error
    except LogBroken as error:
        raise unavailable("the replay buffer lost its disk and starts again; its log says why") from error
    except CorruptLog as error:
        raise unavailable(f"the replay buffer reads its log anew: {error}") from error
