"""The life of a service process: bind, start, register, run, drain; and what its last log line says when it fails."""

import asyncio
import faulthandler
import os
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import structlog
from prometheus_client import CollectorRegistry

from areal_mesh.runtime.addresses import Address
from areal_mesh.runtime.announcement import Announcement
from areal_mesh.runtime.environment import settle_memory
from areal_mesh.runtime.errors import CannotGoOn, StartupError
from areal_mesh.runtime.exits import EXIT_CANNOT_START, EXIT_CRASHED
from areal_mesh.runtime.heartbeats import Heartbeats
from areal_mesh.runtime.identity import Identity, RunIdentity
from areal_mesh.runtime.metrics.endpoint import new_registry
from areal_mesh.runtime.registration import HeartbeatReport, Membership, RefusedError
from areal_mesh.runtime.security.warning import plain_text_warning
from areal_mesh.runtime.server import MeshServer
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.signals import drain_signals
from areal_mesh.runtime.standing import HeardStanding
from areal_mesh.runtime.watch import Watch

# A controller that is started together with the others is up within this; one that is not is asked again later.
_CONTROLLER_UP_SECONDS = 5.0
_LOG = structlog.get_logger("service")


@dataclass
class ServiceContext:
    """What a service is built from.

    `controller` is the controller's host:port; `run_id` tells the run from others of its name, see `RunIdentity`;
    `draining` is set once the service is to drain; `standing` is what the controller last said of the run; `registry`
    holds its metrics.
    """

    settings: RunSettings
    identity: Identity
    controller: str
    run_id: str = ""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    standing: HeardStanding = field(default_factory=HeardStanding)
    registry: CollectorRegistry = field(default_factory=new_registry)

    @property
    def run(self) -> RunIdentity:
        """The run that the service belongs to."""
        return RunIdentity(self.settings.name, self.run_id)

    @property
    def run_directory(self) -> Path:
        """Folder of the run."""
        return self.settings.run_directory


class Service(Protocol):
    """What a service is to its host."""

    transfer_ranks: int
    """Ranks it adds to the weight broadcast; 0 for all but generators."""

    def attach(self, server: MeshServer) -> None:
        """Adds its servicers."""

    async def start(self) -> None:
        """Gets ready to serve; the port is bound already. Raises StartupError where a second try is useless."""

    async def run(self, draining: asyncio.Event) -> None:
        """Works until done, or until `draining` is set and what is in flight has ended."""

    def report(self) -> HeartbeatReport:
        """What the next heartbeat says; must return at once."""

    def lose_groups(self, group_ids: tuple[str, ...]) -> None:
        """These leases are no longer this member's."""

    async def close(self) -> None:
        """Frees what `start` took."""


class ServiceEnd(NamedTuple):
    """How a service ended: its process's exit code, and why where that is EXIT_CANNOT_START."""

    exit_code: int
    reason: str = ""


def run_service(context_of: Callable[[], ServiceContext], build: Callable[[ServiceContext], Service]) -> ServiceEnd:
    """Runs a service to its end. The last line on standard error is the cause."""
    identity = "service"
    # Where a supervisor ends a service that hangs (SIGABRT), or the interpreter fails, its stacks are its last words.
    faulthandler.enable(sys.__stderr__ or sys.stderr)
    try:
        context = context_of()
        identity = context.identity.service_id
        asyncio.run(_host(context, build))
    except StartupError as error:
        return _useless(identity, error)
    except BaseExceptionGroup as group:
        return _crashed(identity, _first_cause(group))
    except Exception as error:  # noqa: BLE001 the process ends here, with its cause on the last line
        return _crashed(identity, error)
    return ServiceEnd(0)


def _useless(identity: str, error: StartupError) -> ServiceEnd:
    what = "cannot go on" if isinstance(error, CannotGoOn) else "cannot start"
    print(f"areal-mesh {identity}: {what}: {error}", file=sys.stderr, flush=True)
    return ServiceEnd(EXIT_CANNOT_START, f"{what}: {error}")


def _crashed(identity: str, error: BaseException) -> ServiceEnd:
    if isinstance(error, StartupError):
        return _useless(identity, error)
    traceback.print_exception(error, file=sys.stderr)
    _LOG.error("service ended by an exception", error=repr(error))
    print(f"areal-mesh {identity}: ended by {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return ServiceEnd(EXIT_CRASHED)


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = group.exceptions[0]
    return _first_cause(inner) if isinstance(inner, BaseExceptionGroup) else inner


async def _host(context: ServiceContext, build: Callable[[ServiceContext], Service]) -> None:
    loop = asyncio.get_running_loop()
    for number in drain_signals():
        loop.add_signal_handler(number, context.draining.set)
    section = context.settings.service(context.identity.role)
    if not (section.address.is_loopback or context.identity.credentials):
        _LOG.warning(plain_text_warning(context.settings))
    announcement = None if context.identity.role == "controller" else _announcement(context)
    try:
        if announcement is not None and await _needless(context, announcement):
            return
        with Watch(context.settings, context.identity, context.registry) as watch:
            await _host_needed(context, build, announcement, watch)
    finally:
        if announcement is not None:
            await announcement.close()


def _announcement(context: ServiceContext) -> Announcement:
    return Announcement(context.controller, context.identity, context.run)


async def _needless(context: ServiceContext, announcement: Announcement) -> bool:
    """Whether the service may end before it loads anything: the run is over, or it was told to drain."""
    async with asyncio.TaskGroup() as tasks:
        asking = tasks.create_task(announcement.over(_CONTROLLER_UP_SECONDS))
        watching = tasks.create_task(context.draining.wait())
        await asyncio.wait({asking, watching}, return_when=asyncio.FIRST_COMPLETED)
        asking.cancel()
        watching.cancel()
    return context.draining.is_set() or asking.result()


async def _host_needed(
    context: ServiceContext,
    build: Callable[[ServiceContext], Service],
    announcement: Announcement | None,
    watch: Watch,
) -> None:
    section = context.settings.service(context.identity.role)
    server = MeshServer(section.listen, context.identity.credentials, context.settings.security.limits)
    service = build(context)
    service.attach(server)
    port = await server.start()
    try:
        await _start_or_tell(context, service, announcement)
        settle_memory()
        await server.set_serving(True)
        address = str(Address(section.reached_host, port))
        shown = {"metrics_port": watch.metrics_port} if watch.metrics_port else {}
        _LOG.info("serving", address=address, incarnation=context.identity.incarnation, **shown)
        watch.supervisor.ready()
        await _serve(context, service, address, watch)
    finally:
        watch.supervisor.stopping()
        await server.stop(grace_seconds=1.0)
        await service.close()


async def _start_or_tell(context: ServiceContext, service: Service, announcement: Announcement | None) -> None:
    """Starts the service; where it cannot, tells the controller why, if there is one, for status to show."""
    try:
        await _start(context, service, announcement)
    except* StartupError as group:
        cause = _first_cause(group)
        if context.identity.role != "controller" and not isinstance(cause, RefusedError):
            membership = Membership(context.controller, context.identity, context.run)
            try:
                await membership.deregister("cannot start", fault=str(cause))
            finally:
                await membership.close()
        raise cause from None


async def _start(context: ServiceContext, service: Service, announcement: Announcement | None) -> None:
    """Starts the service. Told meanwhile to drain, or that the run is over, the process ends: it holds nothing yet."""
    async with asyncio.TaskGroup() as tasks:
        starting = tasks.create_task(service.start())
        watching: set[asyncio.Task[Any]] = {tasks.create_task(context.draining.wait())}
        if announcement is not None:
            watching.add(tasks.create_task(announcement.until_over()))
        await asyncio.wait({starting, *watching}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done() and not any(task.done() and task.exception() for task in watching):
            _LOG.info("told to end while starting")
            # A thread that loads a model cannot be cancelled; a regular exit would wait for it.
            os._exit(0)
        for task in watching:
            task.cancel()


async def _serve(context: ServiceContext, service: Service, address: str, watch: Watch) -> None:
    if context.identity.role == "controller":
        async with _meanwhile(lambda finished: watch.look(service.report, finished), watch.keep_alive):
            await service.run(context.draining)
        return
    membership = Membership(context.controller, context.identity, context.run, context.standing)
    beat = Heartbeats(
        membership,
        context.standing,
        context.identity.calls,
        watch,
        context.draining,
        service.report,
        service.lose_groups,
    )
    try:
        if await _join(context, service, membership, address):
            async with _meanwhile(beat.work, watch.keep_alive):
                await service.run(context.draining)
        await membership.deregister("drained" if context.draining.is_set() else "done")
    finally:
        await membership.close()


@asynccontextmanager
async def _meanwhile(*works: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Has each work done while the block runs; the event that it is given is set at the block's end."""
    finished = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for work in works:
            tasks.create_task(work(finished))
        yield
        finished.set()


async def _join(context: ServiceContext, service: Service, membership: Membership, address: str) -> bool:
    """Registers, however long the controller is away. Told to drain meanwhile it gives up, and returns False."""
    async with asyncio.TaskGroup() as tasks:
        work = membership.register(address, service.report().policy_version, service.transfer_ranks)
        registering = tasks.create_task(work)
        watching = tasks.create_task(context.draining.wait())
        await asyncio.wait({registering, watching}, return_when=asyncio.FIRST_COMPLETED)
        joined = registering.done()
        if not joined:
            _LOG.info("told to drain while registering")
            registering.cancel()
        watching.cancel()
    return joined
