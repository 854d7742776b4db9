"""The supervisor over real processes: who is started again, who is given up, how all are drained."""

import asyncio
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from areal_mesh.runtime.restarts import RestartPolicy
from areal_mesh.runtime.supervision import ProcessCannotStart, ProcessKeepsFailing, ProcessPhase, Supervisor
from tests.integration.supervised import (
    PATIENCE_SECONDS,
    SERVE,
    STUBBORN,
    WITH_CHILD,
    alive,
    says,
    simulated_member,
    until,
)


async def test_a_member_killed_outright_is_started_again_under_its_name_at_once(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    worker = simulated_member(tmp_path, "worker-0", SERVE)
    said: list[str] = []
    supervisor = Supervisor([controller, worker], controller_id="controller", say=said.append)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(worker, "up"))
        first = supervisor.states["worker-0"].pid
        killed_at = time.monotonic()
        os.kill(first, signal.SIGKILL)
        await until(lambda: supervisor.states["worker-0"].pid not in (0, first))
        assert time.monotonic() - killed_at < 1.0
        await until(lambda: worker.log.read_text().count("up") == 2)
        supervisor.drain()
        await running
    assert said == ["worker-0 ended (killed by SIGKILL); started again, restart 1; its last line: up"]
    assert supervisor.states["worker-0"].phase is ProcessPhase.DONE


async def test_what_a_dead_member_started_dies_with_it(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    generator = simulated_member(tmp_path, "generator-0", WITH_CHILD)
    supervisor = Supervisor([controller, generator], controller_id="controller")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(lambda: generator.log.exists() and generator.log.read_text().endswith("\n"))
        child = int(generator.log.read_text())
        assert psutil.pid_exists(child)
        os.kill(supervisor.states["generator-0"].pid, signal.SIGKILL)
        await until(lambda: not alive(child))
        supervisor.drain()
        await running


async def test_a_member_that_cannot_start_ends_all_and_its_last_line_is_repeated(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    faulty = simulated_member(
        tmp_path, "learner-0", "import sys; print('learner-0: cannot start: no model'); sys.exit(78)"
    )
    others = set(psutil.Process().children())  # what other tests of this process left, such as a resource tracker
    supervisor = Supervisor([controller, faulty], controller_id="controller")
    with pytest.raises(ProcessCannotStart, match=r"^learner-0: cannot start: no model$"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert supervisor.states["learner-0"].restarts == 0
    left = set(psutil.Process().children()) - others
    assert not [child for child in left if alive(child.pid)]


async def test_a_member_that_keeps_failing_is_given_up_with_its_last_lines(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    faulty = simulated_member(tmp_path, "replay-0", "raise SystemExit('the disk is full')")
    policy = RestartPolicy(most_restarts=2, first_backoff_seconds=0.01)
    supervisor = Supervisor([controller, faulty], controller_id="controller", policy=policy)
    with pytest.raises(ProcessKeepsFailing, match="the disk is full") as failure:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert failure.value.exit_code == 1
    assert supervisor.states["replay-0"].restarts == 2


async def test_a_member_that_fails_slowly_is_given_up_after_three_lives_with_the_same_last_line(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    script = "import os; raise SystemExit(f'process {os.getpid()}: weights hold NaN')"
    faulty = simulated_member(tmp_path, "generator-0", script)
    said: list[str] = []
    policy = RestartPolicy(first_backoff_seconds=0.01)
    supervisor = Supervisor([controller, faulty], controller_id="controller", policy=policy, say=said.append)
    with pytest.raises(ProcessKeepsFailing, match=r"weights hold NaN$"):
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert len(said) == supervisor.states["generator-0"].restarts == 2
    assert all(line.endswith(": weights hold NaN") for line in said)


async def test_restarts_while_the_run_gets_on_are_not_counted(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    faulty = simulated_member(tmp_path, "generator-0", "raise SystemExit('out of memory')")
    lives: list[str] = []

    def say(line: str) -> None:
        lives.append(line)
        if len(lives) == 12:
            supervisor.drain()

    supervisor = Supervisor(
        [controller, faulty], controller_id="controller", progress=lambda: len(lives), say=say, policy=RestartPolicy()
    )
    async with asyncio.timeout(PATIENCE_SECONDS):
        await supervisor.run()
    assert supervisor.states["generator-0"].restarts == 12


@pytest.mark.parametrize(("free", "full"), [(0, True), (1 << 30, False)])
async def test_a_member_that_a_full_disk_ended_is_told_of_though_its_log_is_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE)
    silent = simulated_member(tmp_path, "replay-0", "raise SystemExit(1)")  # what it said found no room
    policy = RestartPolicy(most_restarts=1, first_backoff_seconds=0.01)
    supervisor = Supervisor([controller, silent], controller_id="controller", policy=policy)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free, f_frsize=1))
    with pytest.raises(ProcessKeepsFailing) as failure:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await supervisor.run()
    assert f"{silent.log} holds no word of it" in str(failure.value)
    assert (f"the disk that holds {tmp_path} is full; free some space" in str(failure.value)) is full


async def test_a_member_drained_by_hand_while_the_run_goes_on_comes_back(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    worker = simulated_member(tmp_path, "worker-0", SERVE)
    supervisor = Supervisor([controller, worker], controller_id="controller", linger_seconds=0.05)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(worker, "up"))
        os.kill(supervisor.states["worker-0"].pid, signal.SIGTERM)
        await until(lambda: worker.log.read_text().count("up") == 2)
        supervisor.drain()
        await running


async def test_the_run_ends_when_the_keeper_and_then_the_others_have_ended(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", "print('done')", drain_phase=1)
    worker = simulated_member(tmp_path, "worker-0", "print('done')")
    supervisor = Supervisor([controller, worker], controller_id="controller", run_goes_on=lambda: False)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await supervisor.run()
    assert {state.phase for state in supervisor.states.values()} == {ProcessPhase.DONE}


async def test_members_that_live_when_the_keeper_has_ended_the_run_are_asked_to_drain_at_once(tmp_path: Path) -> None:
    controller = simulated_member(tmp_path, "controller", SERVE, drain_phase=1)
    starting = simulated_member(tmp_path, "generator-0", SERVE)  # as one that has not joined the run yet
    stubborn = simulated_member(tmp_path, "learner-0", STUBBORN, drain_seconds=0.2)
    said: list[str] = []
    supervisor = Supervisor(
        [controller, starting, stubborn],
        controller_id="controller",
        run_goes_on=lambda: False,
        say=said.append,
        linger_seconds=10 * PATIENCE_SECONDS,
        grace_seconds=0.1,
    )
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        for member in (controller, starting, stubborn):
            await until(says(member, "up"))
        os.kill(supervisor.states["controller"].pid, signal.SIGTERM)
        await running
    assert supervisor.states["generator-0"].last_exit == "exit code 0"
    assert supervisor.states["learner-0"].last_exit == "killed by SIGKILL"
    assert said == ["learner-0 did not drain within 0 s; killed"]


async def test_a_drain_goes_phase_by_phase_and_kills_what_overruns(tmp_path: Path) -> None:
    order = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: (print(time.monotonic()), sys.exit(0)));"
    )
    controller = simulated_member(tmp_path, "controller", f"{order} print('up', flush=True); signal.pause()", 1)
    stubborn = simulated_member(tmp_path, "worker-0", STUBBORN, drain_seconds=0.2)
    supervisor = Supervisor([controller, stubborn], controller_id="controller", grace_seconds=0.1)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(controller, "up"))
        await until(says(stubborn, "up"))
        asked_at = time.monotonic()
        supervisor.drain()
        await running
    controller_ended = float(controller.log.read_text().split()[-1])
    assert controller_ended - asked_at >= 0.3
    assert supervisor.states["worker-0"].last_exit == "killed by SIGKILL"
    assert supervisor.states["controller"].last_exit == "exit code 0"


async def test_a_second_interrupt_kills_at_once(tmp_path: Path) -> None:
    stubborn = simulated_member(tmp_path, "controller", STUBBORN, drain_seconds=60)
    supervisor = Supervisor([stubborn], controller_id="controller")
    async with asyncio.timeout(PATIENCE_SECONDS), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(supervisor.run())
        await until(says(stubborn, "up"))
        supervisor.drain()
        supervisor.kill()
        await running
