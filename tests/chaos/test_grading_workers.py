"""Grading workers are killed, stopped and starved; every answer still gets exactly one verdict."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from areal_mesh.grading import answer_matches
from areal_mesh.grading.synchronous_pool import SynchronousPool, shared_pool
from areal_mesh.grading.verdict import GradeRequest, Verdict
from areal_mesh.grading.workers import processes
from areal_mesh.grading.workers.pool import PoolSettings, WorkerPool

# Needs algebra: no cheap rule proves it.
ALGEBRA = GradeRequest(r"\boxed{1+\sqrt{2}}", (r"\sqrt{3+2\sqrt{2}}",))
WRONG = GradeRequest(r"\boxed{6}", ("5",))
CHEAP = GradeRequest(r"\boxed{5}", ("5.0",))


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(PoolSettings(workers=2, max_workers=4, cache_items=0)) as started:
        yield started


def statuses(verdicts: list[Verdict]) -> list[str]:
    return [verdict.status for verdict in verdicts]


async def test_batch_is_graded_in_order(pool: WorkerPool) -> None:
    verdicts = await pool.grade_many([ALGEBRA, WRONG, CHEAP] * 20, 30.0)

    assert statuses(verdicts) == ["correct", "incorrect", "correct"] * 20
    assert pool.statistics.in_workers == 20


def test_service_process_never_loads_sympy_or_torch() -> None:
    script = (
        "import sys, areal_mesh.grading.workers.pool; from areal_mesh.grading import answer_matches; "
        "assert answer_matches(r'\\boxed{x^2+2x+1}', '(x+1)^2').correct; "
        "print('sympy' in sys.modules, 'mpmath' in sys.modules, 'torch' in sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert loaded.stdout.split() == ["False", "False", "False"]


async def test_killed_worker_in_the_middle_of_a_batch_loses_nothing() -> None:
    graded = 0

    def kill_now_and_then(_verdict: Verdict, _seconds: float) -> None:
        nonlocal graded
        graded += 1
        if graded in (40, 80, 200):
            for process in grading.worker_processes:
                kill(process, signal.SIGKILL)

    grading = WorkerPool(PoolSettings(workers=2, max_workers=4, cache_items=0), observe=kill_now_and_then)
    async with grading:
        verdicts = await grading.grade_many([ALGEBRA] * 300, 60.0)

    assert statuses(verdicts) == ["correct"] * 300
    assert graded == grading.statistics.graded == 300
    assert grading.statistics.crashes > 0


async def test_killed_fork_server_is_started_again(pool: WorkerPool) -> None:
    server = pool._factory.server_process
    assert server is not None
    kill(server, signal.SIGKILL)
    verdicts = await pool.grade_many([ALGEBRA] * 10, 60.0)

    assert statuses(verdicts) == ["correct"] * 10
    assert pool._factory.server_process != server


async def test_stopped_worker_is_killed_at_the_deadline_and_others_do_not_wait(pool: WorkerPool) -> None:
    stopped = pool.worker_processes
    for process in stopped:
        kill(process, signal.SIGSTOP)
    loop = asyncio.get_running_loop()
    started = loop.time()
    verdicts = await pool.grade_many([ALGEBRA] * 6, 30.0)
    took = loop.time() - started

    assert sorted(statuses(verdicts)) == ["correct"] * 4 + ["error"] * 2
    assert {verdict.rule for verdict in verdicts if verdict.status == "error"} == {"deadline"}
    assert took < 10 * pool.settings.answer_seconds
    assert not set(stopped) & set(pool.worker_processes)
    assert statuses(await pool.grade_many([ALGEBRA], 30.0)) == ["correct"]


async def test_batch_deadline_turns_the_rest_into_errors(pool: WorkerPool) -> None:
    for process in pool.worker_processes:
        kill(process, signal.SIGSTOP)
    verdicts = await pool.grade_many([ALGEBRA, CHEAP, WRONG], 0.05)

    assert statuses(verdicts) == ["error", "correct", "incorrect"]
    assert verdicts[0].extracted == r"1+\sqrt{2}"


async def test_verdicts_are_observed_once_and_cached_but_errors_are_not() -> None:
    seen: list[str] = []
    settings = PoolSettings(workers=1, max_workers=2)
    async with WorkerPool(settings, observe=lambda verdict, seconds: seen.append(verdict.status)) as pool:
        kill(pool.worker_processes[0], signal.SIGSTOP)
        first = await pool.grade_many([ALGEBRA], 30.0)
        second = await pool.grade_many([ALGEBRA], 30.0)
        third = await pool.grade_many([ALGEBRA, ALGEBRA], 30.0)

        assert [statuses(verdicts) for verdicts in (first, second, third)] == [["error"], ["correct"], ["correct"] * 2]
        assert seen == ["error", "correct", "correct", "correct"]
        assert pool.statistics.in_workers == 2


async def test_a_reference_too_long_for_a_worker_is_an_error_of_its_answer_alone(pool: WorkerPool) -> None:
    long = GradeRequest(ALGEBRA.response, ("\N{GREEK SMALL LETTER ALPHA}" * 200_000, *ALGEBRA.golds))
    verdicts = await pool.grade_many([ALGEBRA, long, CHEAP], 30.0)

    assert statuses(verdicts) == ["correct", "error", "correct"]
    assert verdicts[1].rule == "grader failed: FrameTooLong"


async def test_the_deadline_holds_for_cheap_rules_too(pool: WorkerPool) -> None:
    verdicts = await pool.grade_many([CHEAP] * 3, 0.0)

    assert [(verdict.status, verdict.rule) for verdict in verdicts] == [("error", "deadline")] * 3
    assert pool.statistics.graded == 3


async def test_a_closed_pool_starts_no_worker(pool: WorkerPool) -> None:
    await pool.close()
    verdicts = await pool.grade_many([ALGEBRA], 30.0)

    assert [(verdict.status, verdict.rule) for verdict in verdicts] == [("error", "no worker")]
    assert pool.worker_processes == ()
    assert pool._factory.server_process is None


@pytest.mark.timeout(240)
async def test_a_fork_server_that_hangs_is_replaced_though_each_caller_leaves_early(
    pool: WorkerPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for a server to start on a busy machine, and short for a test.
    monkeypatch.setattr(processes, "_START_SECONDS", 12.0)
    server = pool._factory.server_process
    assert server is not None
    kill(server, signal.SIGSTOP)
    for process in pool.worker_processes:
        kill(process, signal.SIGKILL)
    async with asyncio.timeout(180):
        while statuses(await pool.grade_many([ALGEBRA], 0.5)) != ["correct"]:
            pass
    assert pool._factory.server_process != server


async def test_unknown_protocol_is_refused(pool: WorkerPool) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await pool.grade_many([GradeRequest("1", ("1",), "other")], 5.0)  # type: ignore[arg-type]
    assert "choose qwen" in str(caught.value.exceptions[0])


def test_synchronous_pool_grades_for_the_command_line() -> None:
    with SynchronousPool(PoolSettings(workers=1)) as pool:
        assert statuses(pool.grade_many([ALGEBRA, CHEAP], 30.0)) == ["correct", "correct"]
    with pytest.raises(RuntimeError, match="`with` statement"):
        SynchronousPool().grade_many([CHEAP], 1.0)


ATTEMPTS = """
import ctypes, errno, json, os, platform, resource, socket, struct
from areal_mesh.grading.workers import sandbox

filtered = sandbox.apply(sandbox.SandboxLimits())
def denied(attempt):
    try:
        attempt()
    except (OSError, MemoryError) as error:
        return True
    return False
results = {
    "memory": denied(lambda: bytearray(400 << 20)),
    "write": denied(lambda: os.write(os.open("file", os.O_WRONLY | os.O_CREAT), b"x")),
    "exec": denied(lambda: os.execv("/bin/true", ["true"])),
    "fork": denied(os.fork),
    "socket": denied(lambda: socket.socket(socket.AF_INET)),
    "kill": denied(lambda: os.kill(os.getppid(), 0)),
    "unlink": denied(lambda: os.unlink("kept")),
    "mkdir": denied(lambda: os.mkdir("made")),
    "limits": denied(lambda: resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (64, 64))),
    "chmod": denied(lambda: os.chmod("kept", 0o777)),
}
libc = ctypes.CDLL(None, use_errno=True)
if platform.machine() == "x86_64":
    information = ctypes.create_string_buffer(struct.pack("iii", 0, 0, -1), 128)  # as `sigqueue` sends it
    results["queued signal"] = libc.syscall(129, os.getppid(), 0, information) == -1
    results["newer call"] = libc.syscall(452, -100, b"kept", 0o777, 0) == -1 and ctypes.get_errno() == errno.ENOSYS
os.write(1, json.dumps([filtered, results]).encode())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system-call filter is Linux's: run on Linux to check it")
def test_sandbox_denies_memory_files_processes_and_sockets(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    done = subprocess.run(
        [sys.executable, "-c", ATTEMPTS], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    filtered, results = json.loads(done.stdout)

    if not filtered:
        pytest.skip("this kernel refuses a system-call filter: resource limits alone hold here")
    assert all(results.values()), results
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


async def test_workers_stay_small_and_filtered_after_hostile_answers(pool: WorkerPool) -> None:
    hostile = [r"9^{9^{9^{9}}}", r"\lfloor\pi 10^{300}\rfloor", r"\binom{1000}{500}^{1000}", r"e^{e^{e^{e^5}}}"]
    verdicts = await pool.grade_many(
        [GradeRequest(f"\\boxed{{{text}}}", (r"\sqrt{2}",)) for text in hostile * 25], 60.0
    )

    assert statuses(verdicts) == ["incorrect"] * 100
    if sys.platform != "linux":
        pytest.skip("peak memory and the filter's state are read from /proc: run on Linux")
    for process in pool.worker_processes:
        status = process_status(process)
        assert int(status["VmHWM"].split()[0]) < 256 << 10
        assert status["NoNewPrivs"].strip() == "1"


def process_status(process: int) -> dict[str, str]:
    lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    return {name: value for name, _, value in (line.partition(":") for line in lines)}


def kill(process: int, number: signal.Signals) -> None:
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return


async def test_one_answer_is_graded_by_a_worker_of_this_process_inside_a_running_loop() -> None:
    assert answer_matches(ALGEBRA.response, ALGEBRA.golds).rule == "symbolic"


def test_threads_share_the_pool_of_this_process() -> None:
    with ThreadPoolExecutor(8) as threads:
        pools = list(threads.map(lambda _: shared_pool(), range(8)))
        verdicts = list(threads.map(lambda _: answer_matches(ALGEBRA.response, ALGEBRA.golds), range(40)))

    assert statuses(verdicts) == ["correct"] * 40
    assert len(set(map(id, pools))) == 1


def test_a_worker_for_single_answers_ends_with_its_process() -> None:
    script = (
        "from areal_mesh.grading import answer_matches; from areal_mesh.grading.synchronous_pool import shared_pool; "
        "assert answer_matches(r'\\boxed{1+\\sqrt2}', r'\\sqrt{3+2\\sqrt2}').correct; "
        "print(*shared_pool().worker_processes)"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)

    assert (run.returncode, run.stderr) == (0, "")
    deadline = time.monotonic() + 10
    while not all(gone(int(process)) for process in run.stdout.split()):
        assert time.monotonic() < deadline, f"workers {run.stdout} live on"


def gone(process: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return process_status(process)["State"].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
