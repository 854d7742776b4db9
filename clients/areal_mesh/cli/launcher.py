"""`areal-mesh up`: one run on this machine, from its settings to its table.

Started again with the same settings it goes on with the same run; the first interrupt drains, the second kills.
"""

import asyncio
import secrets
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console

from areal_mesh.cli.display import Display, display_for
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.forking import forked
from areal_mesh.cli.found_runs import SETUP_FILE, finished_summary
from areal_mesh.cli.gaps import faults, gaps
from areal_mesh.cli.going_on import meant_by, say_changes
from areal_mesh.cli.phases import process_note
from areal_mesh.cli.preflight import check_listen, check_reachable
from areal_mesh.cli.preparing import prepare_run
from areal_mesh.cli.processes import CONTROLLER, controller_address, service_id, service_processes
from areal_mesh.cli.report import files_line, print_table
from areal_mesh.cli.resolving import resolved
from areal_mesh.cli.reward_check import reward_faults, tried_rewards
from areal_mesh.cli.run_directory import enter, held
from areal_mesh.cli.service_credentials import service_credentials
from areal_mesh.cli.view import step_of
from areal_mesh.client import MeshClient, MeshClientError, RunState, RunStatus, ServiceState
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.roles import SERVICE_ROLES
from areal_mesh.runtime.security.warning import plain_text_warning
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.signals import drain_signals
from areal_mesh.runtime.supervision import ProcessCannotStart, ProcessFailure, Supervisor
from areal_mesh.runtime.waiting import wait_until
from areal_mesh.views.rows import MetricsTail
from areal_mesh.views.run_views import METRICS_FILE

_WATCH_SECONDS = 0.5
_RETRY_SECONDS = 0.3
_ENDING = (RunState.STOPPING, RunState.FINISHED)
_LOADING = (ServiceState.STARTING, ServiceState.PENDING_WEIGHTS, ServiceState.LOST)


def launch(source: str, overrides: Sequence[str], fresh: bool, begun_from: str = "") -> int:
    """Runs a mesh to its end, or goes on with one; returns the exit code.

    Args:
        begun_from: a run with whose weights this one begins (`forking`); empty: none.

    Raises:
        CommandFailed: the run cannot begin, or a service ended it.
    """
    if begun_from:
        source, overrides = forked(begun_from, source, overrides)
    settings = resolved(source, overrides)
    address = controller_address(settings)
    if fresh or finished_summary(settings.run_directory) is None:
        _require_what_is_needed(source, settings)
    with held(settings) as folder:
        finished = not fresh and finished_summary(folder) is not None
        if not finished:
            # Before anything of the run is written or deleted, so that the advice (another port) can be followed.
            _check_address(settings)
        say_changes(folder, enter(folder, settings, fresh, meant_by(source, overrides)))
        if finished_summary(folder) is not None:
            print_table(folder)
            print(f"{folder}: this run is finished; --fresh runs it anew")
            return 0
        made = prepare_run(settings, folder / SETUP_FILE)
        if made and settings.model.recipe:
            _require(f"{source}: {fault}" for fault in faults(settings))
        how = "begins" if made else "goes on"
        # Making a model takes minutes, in which another run may have begun.
        _check_address(settings)
        print(f"run {settings.name} {how} in {folder}; controller at {address}", flush=True)
        if warning := plain_text_warning(settings):
            print(warning, flush=True)
        launcher = Launcher(settings, folder, address, Console())
        asyncio.run(launcher.run())
        return launcher.conclude()


def _require_what_is_needed(source: str, settings: RunSettings) -> None:
    """Fails over all that would keep the run from succeeding here, before anything of it is made or deleted."""
    unreachable = []
    for role in SERVICE_ROLES:
        try:
            check_reachable(role, settings.service(role))
            service_credentials(settings, role, service_id(role))
        except StartupError as error:
            unreachable.append(str(error))
    rewards = reward_faults(tried_rewards(settings))
    _require(f"{source}: {line}" for line in (*gaps(settings), *unreachable, *faults(settings), *rewards))


def _require(lacking: Iterable[str]) -> None:
    if lines := list(lacking):
        raise CommandFailed("\n".join(lines), EXIT_CANNOT_START)


def _check_address(settings: RunSettings) -> None:
    """Makes sure that the controller's address is free: services would else join whatever run is served there.

    Raises:
        CommandFailed: it is taken.
    """
    try:
        check_listen("controller.listen", settings.controller.address)
    except StartupError as error:
        look = f"`areal-mesh status --controller {controller_address(settings)}` shows a run that is there"
        raise CommandFailed(f"{error}; {look}", EXIT_CANNOT_START) from error


class Launcher:
    """One sitting of a run: its supervisor, what it shows, and how it ended.

    `run_id` is of this sitting: no service of another run is taken for one of its own.
    """

    def __init__(self, settings: RunSettings, folder: Path, address: str, console: Console) -> None:
        self._folder = folder
        self._address = address
        # The launcher is the controller's parent and has its certificate: it only looks, and needs no token for that.
        self._credentials = service_credentials(settings, CONTROLLER, CONTROLLER)
        self._latest: RunStatus | None = None
        self._interrupt: signal.Signals | None = None
        self.run_id = secrets.token_hex(4)
        members = service_processes(settings, folder, self.run_id)
        self._supervisor = Supervisor(
            members, CONTROLLER, run_goes_on=self._goes_on, progress=self._progress, say=self._say
        )
        self._steps = MetricsTail(folder / METRICS_FILE)
        for _ in self._steps.new_rows():
            pass  # steps of earlier sittings had their lines there
        stage_steps = [stage.max_steps for stage in settings.stages]
        self._display: Display = display_for(console, stage_steps, self._processes)

    async def run(self) -> None:
        """Runs the services to their end.

        Raises:
            CommandFailed: a service cannot start, or keeps failing.
        """
        loop = asyncio.get_running_loop()
        for number in drain_signals():
            loop.add_signal_handler(number, self._interrupted, number)
        failure: ProcessFailure | None = None
        with self._display:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self.watch())
                try:
                    await self._supervisor.run()
                except ProcessFailure as error:
                    failure = error
                watching.cancel()
            self.show_new_steps()
        if failure is not None:
            code = EXIT_CANNOT_START if isinstance(failure, ProcessCannotStart) else 1
            raise CommandFailed(str(failure), code)

    def conclude(self) -> int:
        """Prints the table, and says how the sitting ended; returns the exit code."""
        if self._interrupt is not None and finished_summary(self._folder) is None:
            print(f"drained; the same command goes on with the run in {self._folder}", flush=True)
            return 128 + self._interrupt
        if not print_table(self._folder):
            raise CommandFailed(f"{self._folder}: the controller ended without a summary; see its log there")
        print(files_line(self._folder), flush=True)
        return 0

    def _interrupted(self, number: signal.Signals) -> None:
        if self._interrupt is None:
            self._interrupt = number
            self._say("draining; interrupt again to kill at once")
            self._supervisor.drain()
        elif number is not signal.SIGHUP:
            # A terminal's end is often told twice, by the system and by the shell; nobody's second wish is in that.
            self._supervisor.kill()

    def _goes_on(self) -> bool:
        """Whether the run, as last seen, still needs its services."""
        ending = self._latest is not None and self._latest.state in _ENDING
        return not ending and finished_summary(self._folder) is None

    def _progress(self) -> object:
        """What grows while the run gets something done, as last seen: weights published, groups stored, steps."""
        seen = self._latest
        return None if seen is None else (seen.published_version, seen.tokens_generated, seen.step)

    def _say(self, text: str) -> None:
        self._display.say(text)

    async def watch(self) -> None:
        """Shows what the run's controller says, over its restarts; never ends by itself."""
        never = asyncio.Event()
        async with MeshClient.connect(self._address, credentials=self._credentials) as mesh:
            while not await wait_until(never, _RETRY_SECONDS):
                try:
                    async for status in mesh.watch(_WATCH_SECONDS):
                        self._seen(status)
                except MeshClientError:
                    # Not up yet, or being restarted; a view never ends the run.
                    self._display.show(None)

    def _seen(self, status: RunStatus) -> None:
        if status.run_id != self.run_id:
            # Another run took the address while this run's controller was away.
            self._display.show(None)
            return
        self._latest = status
        self.show_new_steps()
        self._display.show(status)

    def show_new_steps(self) -> None:
        """Shows the steps as the controller wrote them down: none is left out, however fast, and none comes twice."""
        for row in self._steps.new_rows():
            self._display.step(step_of(row))

    def _processes(self) -> dict[str, str]:
        return {name: self._process_note(name) for name in self._supervisor.states}

    def _process_note(self, name: str) -> str:
        joined = {service.service_id: service.state for service in self._latest.services} if self._latest else {}
        loading = joined.get(name, ServiceState.STARTING) in _LOADING
        return process_note(self._supervisor.states[name], self._folder / "logs" / f"{name}.log", loading=loading)
