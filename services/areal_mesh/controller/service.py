"""The controller as a service: builds the parts, runs them, and ends with the run."""

import asyncio

import structlog

from areal_mesh.controller.arrivals import Arrivals
from areal_mesh.controller.begun_with import prompt_facts
from areal_mesh.controller.calls.briefing import Briefing
from areal_mesh.controller.calls.callers import Callers
from areal_mesh.controller.calls.heartbeats import HeartbeatCalls
from areal_mesh.controller.calls.issued import IssuedLeases
from areal_mesh.controller.calls.lease_messages import LeaseMessages
from areal_mesh.controller.calls.leases import LeaseCalls
from areal_mesh.controller.calls.member_statuses import MemberStatuses
from areal_mesh.controller.calls.members import MemberCalls
from areal_mesh.controller.calls.metrics import RunMetrics
from areal_mesh.controller.calls.people import PeopleCalls
from areal_mesh.controller.calls.servicer import ControllerServicer
from areal_mesh.controller.calls.status import StatusReader, StatusServicer
from areal_mesh.controller.calls.steps import StepCalls
from areal_mesh.controller.calls.waiting_calls import WaitingCalls
from areal_mesh.controller.changes import Change, Changes
from areal_mesh.controller.channels import Channels
from areal_mesh.controller.clock import Clock
from areal_mesh.controller.condition import STOPPING
from areal_mesh.controller.departures import Departures
from areal_mesh.controller.evaluation.evaluator import Evaluator, suites_of
from areal_mesh.controller.evaluation.holds import Holds
from areal_mesh.controller.fault_reports import FaultReports
from areal_mesh.controller.faults import FaultKind
from areal_mesh.controller.indexed_file import PromptFileError
from areal_mesh.controller.kept_settings import keep_settings_of
from areal_mesh.controller.lease_queue import LeaseQueue
from areal_mesh.controller.ledger import Ledger, LedgerError
from areal_mesh.controller.lock import lock_run
from areal_mesh.controller.membership import Roster
from areal_mesh.controller.prompts import open_prompts
from areal_mesh.controller.publish.task import Publisher
from areal_mesh.controller.replay_link import ReplayLink
from areal_mesh.controller.reports import Reports
from areal_mesh.controller.room import LedgerFull
from areal_mesh.controller.run import Run
from areal_mesh.controller.seen_progress import SeenProgress
from areal_mesh.controller.sinks import check_nobody_elses
from areal_mesh.controller.stored_ends import StoredEnds
from areal_mesh.controller.upkeep import ReplayKeeper, TimeKeeper
from areal_mesh.runtime.errors import CannotGoOn, StartupError
from areal_mesh.runtime.metrics.endpoint import Samples
from areal_mesh.runtime.registration import HeartbeatReport
from areal_mesh.runtime.security.warning import plain_text_warning
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.service import Service, ServiceContext
from areal_mesh.runtime.transfer_key import new_transfer_key
from areal_mesh.v1 import controller_pb2_grpc, status_pb2_grpc

_LOG = structlog.get_logger("controller")


def build(context: ServiceContext) -> Service:
    """The controller of a run.

    Raises:
        StartupError: another controller works on the run, or its ledger or prompt file cannot be used.
    """
    return ControllerService(context)


class ControllerService:
    """One controller. Owns the run's lock, ledger and channels."""

    transfer_ranks = 0
    _metrics: RunMetrics | None = None

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        self._settings = context.settings
        self._clock, self._progress = Clock(), SeenProgress()
        self._changes = Changes()
        self._ending = asyncio.Event()
        """Set when the run is over for this controller: its tasks and its streams end."""
        self.channels = Channels(context.identity)
        self._transfer_key = new_transfer_key()
        self._lock = lock_run(context.run_directory)
        try:
            self._prompts = open_prompts(context.settings, context.run_directory)
            check_nobody_elses(context.run_directory)
            self._ledger = Ledger(context.run_directory / "ledger.db")
            facts = prompt_facts(self._settings, self._prompts)
            self._run = Run(self._settings, self._ledger, self._clock, facts)
        except (PromptFileError, LedgerError, LedgerFull) as error:
            raise StartupError(str(error)) from error
        self._roster = Roster(self._settings.controller.lease_seconds, self._ledger.member_starts())
        self._arrivals = Arrivals(self._ledger.member_starts())
        self._holds = Holds(self._run, self._roster)
        self._evaluator = self._make_evaluator()
        self._departures = Departures(
            self._run, self._roster, self._arrivals, self._clock, lambda: self._evaluator.busy
        )
        self._faults = FaultReports(self._run.faults, self._changes, self._clock)
        self._faults.put("controller", FaultKind.PLAIN_TEXT, plain_text_warning(self._settings))
        self._replay = ReplayLink(self._run)
        self._waiting_leases = WaitingCalls()
        self._publisher = self._make_publisher()
        self._time_keeper, self._replay_keeper = self._make_time_keeper(), self._make_replay_keeper()
        self._reports = Reports(
            self._run,
            self._publisher,
            self._replay,
            self._changes,
            self._settings,
            self._ledger.room,
            self._ending,
        )

    def _make_publisher(self) -> Publisher:
        return Publisher(
            self._run,
            self._roster,
            self._replay,
            self._changes,
            self._clock,
            self._settings.weights,
            self._settings.controller.lease_seconds,
            self.channels.to,
            self._transfer_key,
            self._holds.holds,
        )

    def _make_evaluator(self) -> Evaluator:
        run, roster, folder = self._run, self._roster, self._context.run_directory / "evaluations"
        suites = suites_of(self._settings.evaluation)
        return Evaluator(
            run, roster, self._holds, self._changes, self._clock, suites, self.channels.to, folder, self._ending
        )

    def _make_time_keeper(self) -> TimeKeeper:
        return TimeKeeper(
            run=self._run,
            roster=self._roster,
            publisher=self._publisher,
            faults=self._faults,
            changes=self._changes,
            clock=self._clock,
            room=self._ledger.room,
            prompts=self._prompts,
            settings=self._settings.controller,
            ending=self._ending,
        )

    def _make_replay_keeper(self) -> ReplayKeeper:
        return ReplayKeeper(
            roster=self._roster,
            replay=self._replay,
            publisher=self._publisher,
            channels=self.channels,
            faults=self._faults,
            changes=self._changes,
            clock=self._clock,
            settings=self._settings.controller,
            ending=self._ending,
        )

    def attach(self, server: MeshServer) -> None:
        """Adds ControllerService and StatusService."""
        server.add(
            controller_pb2_grpc.add_ControllerServiceServicer_to_server,
            self._make_servicer(),
            "areal_mesh.v1.ControllerService",
        )
        members = MemberStatuses(self._publisher.waits_for)
        reader = StatusReader(self._run, self._context.run, self._roster, self._replay, members, self._clock)
        metrics = self._metrics = RunMetrics(reader)
        self._context.registry.register(Samples(metrics.samples))
        server.add(
            status_pb2_grpc.add_StatusServiceServicer_to_server,
            StatusServicer(reader, self._changes, self._ending),
            "areal_mesh.v1.StatusService",
        )

    def _make_servicer(self) -> ControllerServicer:
        run, settings, roster, departures = self._run, self._settings, self._roster, self._departures
        changes, clock, faults = self._changes, self._clock, self._faults
        issued, lease_key = IssuedLeases(), run.lease_key()
        callers = Callers(roster, changes, clock, settings.controller.lease_seconds)
        briefing = Briefing(run, roster, settings.controller, lease_key, self._transfer_key)
        return ControllerServicer(
            MemberCalls(
                run=run,
                identity=self._context.run,
                settings=settings,
                roster=roster,
                arrivals=self._arrivals,
                departures=departures,
                issued=issued,
                briefing=briefing,
                faults=faults,
                changes=changes,
                clock=clock,
                joined=self._replay_keeper.joined,
            ),
            HeartbeatCalls(run, roster, callers, departures, briefing, faults, changes, clock),
            LeaseCalls(
                run=run,
                settings=settings,
                prompts=self._prompts,
                roster=roster,
                callers=callers,
                queue=self._make_queue(),
                replay=self._replay,
                issued=issued,
                messages=LeaseMessages(settings, self._prompts, lease_key),
                changes=changes,
                stored=StoredEnds(run.groups),
                waiting=self._waiting_leases,
            ),
            StepCalls(run, settings, roster, callers, self._publisher, changes, clock, faults, self._prompts),
            PeopleCalls(run, changes, settings),
        )

    def _make_queue(self) -> LeaseQueue:
        queue = LeaseQueue(self._run.admits, lambda: self._run.over)
        self._changes.listen(queue.serve, *Change)
        return queue

    async def start(self) -> None:
        """Says where the run stands, and keeps its settings; everything was opened when it was built."""
        keep_settings_of(self._settings)
        assert self._metrics is not None, "attach() comes before start()"
        self._metrics.start()
        run = self._run
        _LOG.info("run", state=run.state.value, step=run.version, stage=run.stage, published=run.published_version)

    async def run(self, draining: asyncio.Event) -> None:
        """Works until the run is over and its members have left, or until `draining` is set.

        Raises:
            CannotGoOn: see `Run.hopeless`.
        """
        section = self._settings.controller
        async with asyncio.TaskGroup() as tasks:
            work = [
                self._publisher.work(),
                self._time_keeper.work(),
                self._replay_keeper.work(),
                self._evaluator.work(),
                self._reports.keep_metrics(),
            ]
            working = [tasks.create_task(part) for part in work]
            await self._departures.wait(draining, section.drain_seconds, section.heartbeat_seconds / 2)
            hopeless = "" if draining.is_set() else self._run.hopeless
            self._ending.set()
            self._changes.notify(Change.STATE)
            for task in working:
                # A publish in progress ends at its members by itself; nobody is left who could take its weights.
                task.cancel()
        stopped = self._ledger.read(STOPPING)
        self._reports.finish()
        if self._run.life is not None:
            await self._reports.conclude_views()
        if stopped is not None:
            _LOG.warning("the run was stopped", reason=stopped)
        if hopeless:
            raise CannotGoOn(hopeless)

    def report(self) -> HeartbeatReport:
        """What a heartbeat would say; the controller sends none."""
        return self._progress.report(self._run, self._clock.monotonic())

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """Does nothing: the controller holds no leases."""

    async def close(self) -> None:
        """Closes channels and files."""
        await self.channels.close()
        self._reports.close()
        self._prompts.close()
        self._ledger.close()
        self._lock.release()
