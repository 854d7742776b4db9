"""Nothing outlives the process that supervised it."""

import signal
from pathlib import Path

import psutil

from areal_mesh.runtime.orphans import OrphanGuard
from tests.integration.supervised import PATIENCE_SECONDS, WITH_CHILD, alive, python, until
from tests.processes import started_with

LAUNCHER = """
import asyncio, sys
from pathlib import Path
from areal_mesh.runtime.settings import load_settings
from areal_mesh.runtime.supervision import ServiceProcess, Supervisor
member = ServiceProcess("generator-0", (sys.executable, "-c", sys.argv[1]), Path(sys.argv[2]), 0, 10.0)
asyncio.run(Supervisor([member], controller_id="generator-0").run())
"""


async def test_a_killed_launcher_leaves_no_orphan(tmp_path: Path) -> None:
    log = tmp_path / "generator-0.log"
    launcher = python(LAUNCHER, WITH_CHILD, str(log))
    try:
        await until(lambda: log.exists() and log.read_text().endswith("\n"))
        family = psutil.Process(launcher.pid).children(recursive=True)
        assert int(log.read_text()) in {process.pid for process in family}
    finally:
        launcher.kill()
        launcher.wait(PATIENCE_SECONDS)
    await until(lambda: not any(alive(process.pid) for process in family))


async def test_a_killed_watcher_is_replaced_and_still_ends_what_is_registered() -> None:
    orphan = python("import signal; signal.pause()")
    guard = OrphanGuard()
    guard.watch(orphan.pid)
    watcher = next(started_with("orphans.py"))
    watcher.kill()
    await until(lambda: not alive(watcher.pid))
    guard.release(0)
    guard.close()
    assert orphan.wait(PATIENCE_SECONDS) == -signal.SIGKILL
