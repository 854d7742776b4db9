"""Runs the processes of a mesh on one machine: starts, watches, restarts, drains and kills them.

Each service is the leader of a session of its own, so that a terminal's Ctrl-C reaches the supervisor alone and a dead
service takes with it whatever it started. Invariants:
- the end of a service is noticed at once, and its session is killed before the service is started again;
- a service keeps its name over restarts;
- when `run` returns or raises, no process of any service is left; neither is one when the supervisor is killed.
"""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from areal_mesh.runtime.disk import has_no_room
from areal_mesh.runtime.orphans import OrphanGuard, kill_session
from areal_mesh.runtime.restarts import Ends, Reaction, RestartPolicy, describe_exit
from areal_mesh.runtime.waiting import wait_until

# What an end with 0 counts as where the service was still needed.
EXIT_LEFT_EARLY = -signal.SIGTERM.value
_TAIL_BYTES = 16_384
_CAUSE_LINES = 12
_LONGEST_WORDS = 400


@dataclass(frozen=True)
class ServiceProcess:
    """A process to keep alive.

    `drain_phase`: services of a lower phase are asked to drain, and waited for, before those of a higher one.
    """

    service_id: str
    argv: tuple[str, ...]
    log: Path
    drain_phase: int
    drain_seconds: float
    environment: Mapping[str, str] = field(default_factory=dict)


class ProcessPhase(StrEnum):
    """What a service's process does."""

    WAITING = "waiting"
    RUNNING = "running"
    ENDED = "ended"
    RESTARTING = "restarting"
    DONE = "done"


@dataclass
class ProcessState:
    """A service as it is now: its process, if there is one, and how often it was started again."""

    phase: ProcessPhase = ProcessPhase.WAITING
    pid: int = 0
    restarts: int = 0
    last_exit: str = ""
    cause: str = ""
    """The last line of the life before; empty where it said nothing."""
    began: float = 0.0
    """Of the process, on the monotonic clock."""
    log_offset: int = 0
    """Where in its log the process begins."""


class ProcessFailure(Exception):
    """A service ended for good: `exit_code` as the process gave it (negative for a signal), `last_lines` of its log."""

    def __init__(self, service_id: str, exit_code: int, last_lines: Sequence[str], log: Path) -> None:
        self.service_id = service_id
        self.exit_code = exit_code
        self.last_lines = tuple(last_lines)
        self.log = log
        super().__init__(self._text())

    def _text(self) -> str:
        raise NotImplementedError


class ProcessCannotStart(ProcessFailure):
    """A service said that it cannot start; the message is its last line."""

    def _text(self) -> str:
        return self.last_lines[-1] if self.last_lines else f"{self.service_id} cannot start; see {self.log}"


class ProcessKeepsFailing(ProcessFailure):
    """A service ended more often than the policy allows."""

    def _text(self) -> str:
        ends = f"{self.log} ends:\n  " + "\n  ".join(self.last_lines)
        if not self.last_lines:
            ends = f"{self.log} holds no word of it"
        if self.log.parent.is_dir() and has_no_room(self.log.parent):
            ends += f"\nthe disk that holds {self.log.parent} is full; free some space, and the same command goes on"
        return f"{self.service_id} keeps failing ({describe_exit(self.exit_code)}); {ends}"


def _nothing_said(_: str) -> None:
    return None


def _run_goes_on() -> bool:
    return True


def _no_progress() -> object:
    return None


@dataclass
class Supervisor:
    """Keeps `services` alive until the controller (`controller_id`) ends with exit code 0, or `drain` is called.

    Once the controller has ended the run, services that still live are asked to drain at once.

    `run_goes_on` tells whether the run still needs its services: one that ends with 0 while it does, with no drain
    asked for, was drained by hand and is started again. `progress` differs from what it gave before once the run has
    got something done: restarts without that are bounded. `say` gets one line for a person at each restart.
    """

    services: Sequence[ServiceProcess]
    controller_id: str
    policy: RestartPolicy = field(default_factory=RestartPolicy)
    run_goes_on: Callable[[], bool] = _run_goes_on
    progress: Callable[[], object] = _no_progress
    say: Callable[[str], None] = _nothing_said
    linger_seconds: float = 30.0
    """Time for the controller to end once another service has ended with 0: after it, that one was drained by hand."""
    grace_seconds: float = 5.0
    """Beyond a service's own drain_seconds, before it is killed."""

    def __post_init__(self) -> None:
        self.states = {service.service_id: ProcessState() for service in self.services}
        self._ended = {service.service_id: asyncio.Event() for service in self.services}
        self._turn = asyncio.Event()
        self._draining = asyncio.Event()

    async def run(self) -> None:
        """Runs the services to their end.

        Raises:
            ProcessCannotStart: a service ended with exit code 78; all are killed.
            ProcessKeepsFailing: a service used up its restarts; all are killed.
        """
        try:
            with OrphanGuard() as guard:
                async with asyncio.TaskGroup() as tasks:
                    for service in self.services:
                        tasks.create_task(self._keep_alive(service, guard))
                    tasks.create_task(self._conclude())
        except* ProcessFailure as failures:
            raise _first(failures) from None

    def drain(self) -> None:
        """Asks all services to drain, phase by phase, and kills those that overrun; `run` then returns."""
        self._draining.set()
        self._turn.set()

    def kill(self) -> None:
        """Kills all services at once."""
        self.drain()
        for state in self.states.values():
            if state.pid:
                kill_session(state.pid)

    async def _keep_alive(self, service: ServiceProcess, guard: OrphanGuard) -> None:
        state = self.states[service.service_id]
        ends = Ends()
        while not self._draining.is_set():
            offset = service.log.stat().st_size if service.log.exists() else 0
            state.log_offset, state.began = offset, time.monotonic()
            exit_code = await self._one_life(service, state, guard)
            state.last_exit = describe_exit(exit_code)
            if self._draining.is_set() or (exit_code == 0 and not await self._left_early(service)):
                break
            said = last_lines(service.log, offset)
            last_line = said[-1] if said else ""
            ends.add(exit_code or EXIT_LEFT_EARLY, last_line, self.progress())
            decision = self.policy.decide(exit_code or EXIT_LEFT_EARLY, ends)
            if decision.reaction is Reaction.CANNOT_START:
                raise ProcessCannotStart(service.service_id, exit_code, said, service.log)
            if decision.reaction is Reaction.GIVE_UP:
                raise ProcessKeepsFailing(service.service_id, exit_code, said, service.log)
            state.phase = ProcessPhase.RESTARTING
            state.restarts += 1
            state.cause = last_line[:_LONGEST_WORDS]
            self.say(restart_line(service.service_id, state, last_line))
            await wait_until(self._draining, decision.delay_seconds)
        state.phase = ProcessPhase.DONE
        self._ended[service.service_id].set()
        if service.service_id == self.controller_id:
            self._turn.set()

    async def _one_life(self, service: ServiceProcess, state: ProcessState, guard: OrphanGuard) -> int:
        process = _spawn(service)
        guard.watch(process.pid)
        state.pid, state.phase = process.pid, ProcessPhase.RUNNING
        try:
            await _process_end(process.pid)
        finally:
            # Not reaped yet, so the number cannot be another's: what the service started dies with it.
            kill_session(process.pid)
            exit_code = process.wait()
            state.pid, state.phase = 0, ProcessPhase.ENDED
            guard.release(process.pid)
        return exit_code

    async def _left_early(self, service: ServiceProcess) -> bool:
        """Whether a service that ended with 0 did so although the run goes on: somebody drained it by hand."""
        if service.service_id != self.controller_id and await wait_until(self._turn, self.linger_seconds):
            return False
        return self.run_goes_on()

    async def _conclude(self) -> None:
        """Waits for the controller's end or a drain, then sees the others out."""
        await self._turn.wait()
        if not self._draining.is_set():
            # The controller has ended the run. A service that had not joined it yet was told by nobody.
            self._draining.set()
            await self._drain_all(self.services)
            return
        for phase in sorted({service.drain_phase for service in self.services}):
            await self._drain_all([service for service in self.services if service.drain_phase == phase])

    async def _drain_all(self, services: Sequence[ServiceProcess]) -> None:
        async with asyncio.TaskGroup() as tasks:
            for service in services:
                tasks.create_task(self._drain_one(service))

    async def _drain_one(self, service: ServiceProcess) -> None:
        """Asks a service to drain, and kills it if it overruns."""
        state = self.states[service.service_id]
        if state.pid:
            os.kill(state.pid, signal.SIGTERM)
        patience = service.drain_seconds + self.grace_seconds
        if not await wait_until(self._ended[service.service_id], patience):
            self.say(f"{service.service_id} did not drain within {patience:.0f} s; killed")
            if state.pid:
                kill_session(state.pid)


def restart_line(service_id: str, state: ProcessState, last_line: str) -> str:
    """What a person is told of a restart: who ended, how, and with what words."""
    words = f"; its last line: {last_line[:_LONGEST_WORDS]}" if last_line else ""
    return f"{service_id} ended ({state.last_exit}); started again, restart {state.restarts}{words}"


def last_lines(log: Path, offset: int = 0, count: int = _CAUSE_LINES) -> list[str]:
    """The last `count` lines of a log that are not empty, none from before byte `offset`."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset, size - _TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    return [line.rstrip() for line in lines if line.strip()][-count:]


def _spawn(service: ServiceProcess) -> subprocess.Popen[bytes]:
    service.log.parent.mkdir(parents=True, exist_ok=True)
    with service.log.open("ab") as log:
        return subprocess.Popen(
            service.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **service.environment},
        )


async def _process_end(pid: int) -> None:
    """Waits until the child has ended; does not reap it."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    descriptor = os.pidfd_open(pid)
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def _first(group: BaseExceptionGroup[ProcessFailure]) -> ProcessFailure:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
