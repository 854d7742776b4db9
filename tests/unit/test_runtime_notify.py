"""sd_notify: what a supervisor hears, and that nobody is told where none asked."""

import os
import socket
from pathlib import Path

import pytest

from areal_mesh.runtime.notify import Supervisor


@pytest.mark.parametrize("abstract", [False, True])
def test_a_supervisor_hears_that_the_service_is_ready_alive_and_stopping(tmp_path: Path, abstract: bool) -> None:
    name = f"areal-mesh-test-{os.getpid()}"
    address = f"@{name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(f"\0{name}" if abstract else address)
        heard.settimeout(5)
        supervisor = Supervisor({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000000"})
        supervisor.ready()
        supervisor.alive("policy version 7")
        supervisor.stopping()
        said = [heard.recv(1024).decode() for _ in range(3)]
    assert said == ["READY=1", "WATCHDOG=1\nSTATUS=policy version 7", "STOPPING=1"]
    assert supervisor.keep_alive_seconds == 15.0


def test_a_watchdog_of_another_process_asks_for_nothing() -> None:
    assert Supervisor({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}).keep_alive_seconds == 0


def test_without_a_supervisor_nobody_is_told() -> None:
    supervisor = Supervisor({"WATCHDOG_USEC": "1000"})
    supervisor.ready()
    assert supervisor.keep_alive_seconds == 0
