"""The controller as a service: builds the parts, keeps time, writes what people read, knows when the run is over."""

import asyncio

import structlog

from areal_mesh.controller.arrivals import Arrivals
from areal_mesh.controller.calls.parts import Parts
from areal_mesh.controller.calls.servicer import ControllerServicer
from areal_mesh.controller.calls.status import StatusServicer
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.channels import Channels
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.faults import FaultKind, Hold
from areal_mesh.controller.lease_queue import LeaseQueue
from areal_mesh.controller.ledger import Ledger, LedgerError
from areal_mesh.controller.lock import lock_run
from areal_mesh.controller.membership import Member, Roster
from areal_mesh.controller.plan import run_plan
from areal_mesh.controller.prompts import PromptFile, PromptFileError
from areal_mesh.controller.publish.task import Publisher
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.controller.sinks import MetricsFile, check_nobody_elses, read_prepared_seconds, write_summary
from areal_mesh.controller.summary import RunFacts, summarise
from areal_mesh.runtime.disk import is_full
from areal_mesh.runtime.errors import CannotGoOn, StartupError
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import Service, ServiceContext
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import common_pb2, controller_pb2_grpc, replay_pb2_grpc, status_pb2_grpc
from areal_mesh.views.run_views import METRICS_FILE, RunViews

_LOG = structlog.get_logger("controller")
_STATISTICS_SECONDS = 2.0


def build(context: ServiceContext) -> Service:
    """The controller of a run.

    Raises:
        StartupError: another controller works on the run, or its ledger or prompt file cannot be used.
    """
    return ControllerService(context)


class ControllerService:
    """One controller. Owns the run's lock, ledger and channels."""

    transfer_ranks = 0

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._settings = context.settings
        self._clock = Clock()
        self._changes = Changes()
        self._ending = asyncio.Event()
        self.channels = Channels(context.identity)
        self._compare_now = False
        self._lock = lock_run(context.run_directory)
        try:
            self._prompts = PromptFile(
                self._settings.prompts.file,
                self._settings.seed,
                self._settings.prompts.shuffle,
                self._settings.prompts.count,
            )
            check_nobody_elses(context.run_directory)
            self._ledger = Ledger(context.run_directory / "ledger.db")
            self._run = Run(run_plan(self._settings, self._prompts), self._ledger, self._clock)
        except (PromptFileError, LedgerError, LedgerFull) as error:
            raise StartupError(str(error)) from error
        self._parts = self._assemble()
        self._metrics = MetricsFile(context.run_directory / METRICS_FILE)
        self._views = RunViews(context.run_directory, lambda text: _LOG.warning("view", cause=text))

    def _assemble(self) -> Parts:
        run, section = self._run, self._settings.controller
        roster = Roster(section.lease_seconds, self._ledger.member_starts())
        replay = ReplayLink(run)
        leases = LeaseQueue(run.admits, lambda: run.over)
        self._changes.listen(leases.serve, *Change)
        publisher = Publisher(
            run,
            roster,
            replay,
            self._changes,
            self._clock,
            self._settings.weights,
            section.lease_seconds,
            self.channels.to,
        )
        return Parts(
            settings=self._settings,
            identity=self._context.run,
            run=run,
            roster=roster,
            arrivals=Arrivals(self._ledger.member_starts()),
            changes=self._changes,
            leases=leases,
            clock=self._clock,
            prompts=self._prompts,
            replay=replay,
            publisher=publisher,
            joined=self._joined,
            lease_key=self._run.lease_key(),
        )

    def attach(self, server: MeshServer) -> None:
        """Adds ControllerService and StatusService."""
        server.add(
            controller_pb2_grpc.add_ControllerServiceServicer_to_server,
            ControllerServicer(self._parts),
            "areal_mesh.v1.ControllerService",
        )
        server.add(
            status_pb2_grpc.add_StatusServiceServicer_to_server,
            StatusServicer(self._parts, self._ending),
            "areal_mesh.v1.StatusService",
        )

    async def start(self) -> None:
        """Says where the run stands; everything was opened when it was built."""
        run = self._run
        _LOG.info("run", state=run.state.value, step=run.version, stage=run.stage, published=run.published_version)

    async def run(self, draining: asyncio.Event) -> None:
        """Works until the run is over and its members have left, or until `draining` is set.

        Raises:
            CannotGoOn: so many groups ended with nothing to train on that none ever will.
        """
        async with asyncio.TaskGroup() as tasks:
            work = [self._parts.publisher.work(), self._keep_time(), self._keep_replay(), self._write_metrics()]
            working = [tasks.create_task(part) for part in work]
            await self._until_over(draining)
            hopeless = "" if draining.is_set() else self._run.hopeless
            self._ending.set()
            self._changes.notify(Change.STATE)
            for task in working:
                # A publish in progress ends at its members by itself; nobody is left who could take its weights.
                task.cancel()
        self._finish()
        if self._run.life is not None:
            await asyncio.to_thread(self._views.conclude)
        if hopeless:
            raise CannotGoOn(hopeless)

    def report(self) -> HeartbeatReport:
        """The controller sends no heartbeats."""
        return HeartbeatReport(policy_version=self._run.version)

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """The controller holds no leases."""

    async def close(self) -> None:
        """Closes channels and files."""
        await self.channels.close()
        self._metrics.close()
        self._prompts.close()
        self._ledger.close()
        self._lock.release()

    def _joined(self, member: Member) -> None:
        """The replay buffer's address may be new; it and the learner are reasons to compare groups."""
        if member.role == common_pb2.ROLE_REPLAY:
            self._parts.replay.stub = replay_pb2_grpc.ReplayServiceStub(self.channels.to(member.address))
        self._compare_now |= member.role in (common_pb2.ROLE_REPLAY, common_pb2.ROLE_LEARNER)

    async def _keep_time(self) -> None:
        """Finds members and leases that lapsed, and notes that the controller lives.

        Raises:
            StartupError: the prompt file is another one now.
        """
        seconds = self._settings.controller.heartbeat_seconds / 2
        awaited = False
        while not await wait_until(self._ending, seconds):
            if self._prompts.fault is not None:
                raise StartupError(str(self._prompts.fault)) from self._prompts.fault
            self._see_to(FaultKind.DISK, "controller", self._ledger.room.check(), Hold.ADMISSION)
            if awaited != self._parts.publisher.awaits_generator:
                awaited = not awaited
                self._changes.notify(Change.PUBLISHES)
            lost = self._parts.roster.expire(self._clock.monotonic())
            for member in lost:
                _LOG.warning("lost: no heartbeat within its lease", member=member.service_id)
                self._see_to(FaultKind.SAID, member.service_id)
            if lost:
                self._changes.notify(Change.MEMBERS)
            try:
                self._note_time()
            except LedgerFull as error:
                # What lapsed lapses again at the next look, when the disk may have room.
                _LOG.warning("time is not noted", cause=error.message)

    def _note_time(self) -> None:
        """Notes in the ledger that the controller lives, whose leases lapsed, and whose holder is lost."""
        self._run.note_alive()
        freed = [
            row
            for member in self._parts.roster.all()
            if member.lost
            for row in self._run.groups.free(member.key, "its generator was lost")
        ]
        lapsed = self._run.groups.expire()
        if lapsed:
            _LOG.warning("leases lapsed", groups=len(lapsed))
        if freed or lapsed:
            self._changes.notify(Change.PLACES)

    async def _keep_replay(self) -> None:
        """Compares groups when asked to and every lease time besides; keeps the statistics fresh."""
        compared = self._clock.monotonic()
        while not self._ending.is_set():
            await self._changes.until(
                lambda: self._ending.is_set() or self._compare_now, _STATISTICS_SECONDS, Change.MEMBERS, Change.STATE
            )
            now = self._clock.monotonic()
            if self._compare_now or now - compared > self._settings.controller.lease_seconds:
                self._compare_now, compared = False, now
                if await self._parts.replay.compare():
                    self._changes.notify(Change.PLACES)
            fault = await self._parts.replay.refresh_statistics()
            if fault is not None:
                self._see_to(FaultKind.LOG, "replay", fault, Hold.STEPS)
            self._changes.notify()
            await self._close_unused_channels()

    def _see_to(self, kind: FaultKind, service_id: str, text: str = "", hold: Hold = Hold.NOTHING) -> None:
        """Holds the run for a fault, or goes on where it is gone (an empty text)."""
        if self._run.faults.put(service_id, kind, text, hold, self._clock.monotonic()):
            _LOG.error("fault", member=service_id, what=text or "gone")
            self._changes.notify(Change.STATE, Change.PLACES)

    async def _close_unused_channels(self) -> None:
        """Between the calls of `_keep_replay` and outside publishes: closing a channel cancels the calls on it."""
        if self._parts.publisher.busy:
            return
        members = list(self._parts.roster.all())
        if not any(member.role == common_pb2.ROLE_REPLAY for member in members):
            self._parts.replay.stub = None
        await self.channels.close_all_but({member.address for member in members})

    async def _write_metrics(self) -> None:
        """Writes a step's line once its publish is through, at the latest when the next step is committed."""
        run, publisher = self._run, self._parts.publisher

        def complete() -> int:
            return run.version if publisher.settled else run.version - 1

        while not self._ending.is_set():
            await self._changes.until(
                lambda: self._ending.is_set() or complete() > self._metrics.written,
                5.0,
                Change.STEPS,
                Change.PUBLISHES,
                Change.STATE,
            )
            if self._metrics.catch_up(run, complete(), self._parts.replay.statistics):
                # A launcher reads the lines when it hears of a change.
                self._changes.notify()
                await asyncio.to_thread(self._views.catch_up)

    async def _until_over(self, draining: asyncio.Event) -> None:
        """Until `draining` is set, the run is hopeless, or it is over and its members have left or had time to."""
        needed = self._clock.monotonic()
        seconds = self._settings.controller.heartbeat_seconds / 2
        while not draining.is_set() and not self._run.hopeless:
            await wait_until(draining, seconds)
            now = self._clock.monotonic()
            members = list(self._parts.roster.all())
            # The learner writes its last checkpoint and export at the end: it has all the time that it lives, and
            # that of a restart.
            if not self._run.over or self._parts.learner_stays:
                needed = now
            waited = now - needed
            # Those on their way are told of the end; who registered before this life of the controller may be.
            if self._run.over and not members and not self._parts.arrivals.awaited:
                return
            if waited > self._settings.controller.drain_seconds:
                left = {member.service_id for member in members} | self._parts.arrivals.awaited
                _LOG.warning("members did not leave in time", members=sorted(left))
                return

    def _finish(self) -> None:
        """Writes the end down, with the reserve given back; without room even so, the next life does it."""
        self._ledger.room.give_back()
        summary = self._context.run_directory / "summary.json"
        try:
            self._run.leave()
            self._run.note_alive()
            self._metrics.catch_up(self._run, self._run.version, self._parts.replay.statistics)
            write_summary(summary, summarise(self._facts()))
        except LedgerFull as error:
            _LOG.error("the end of the run is not written; start it again", cause=error.message)
        except OSError as error:
            if not is_full(error):
                raise
            _LOG.error("no summary, for the disk is full; free space and start the run again", file=str(summary))

    def _facts(self) -> RunFacts:
        run = self._run
        return RunFacts(
            name=run.plan.name,
            config=self._settings.model_dump(mode="json"),
            plans=run.plan.stages,
            prepared_seconds=read_prepared_seconds(self._context.run_directory / "setup.json"),
            lives=self._ledger.lives(),
            stages=run.stages,
            steps=list(self._ledger.steps()),
            publishes=list(self._ledger.publishes()),
            counts=run.groups.counts,
            generating=self._ledger.generation_intervals(),
            end_reasons=run.groups.end_reasons,
            generated_tokens=run.groups.generated_tokens,
            finished=run.finished,
            starts=self._ledger.member_starts(),
        )
