"""A service that cannot start, where only what exits with 0 is left alone: the run ends, its reason last."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from areal_mesh.cli.end_run import END_RUN_VARIABLE
from tests.integration.controller_mesh import settings_in

SECONDS = 100.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(role: str, config: Path, controller: str, log: Path, *more: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "areal_mesh.cli", "serve", role, "--config", str(config)]
    with log.open("wb") as out:
        return subprocess.Popen(
            [*command, "--controller", controller, *more],
            stdout=out,
            stderr=out,
            env={**os.environ, END_RUN_VARIABLE: "1"},
        )


def last_line(log: Path) -> str:
    return log.read_text().splitlines()[-1]


@pytest.fixture
def config(tmp_path: Path) -> tuple[Path, str]:
    settings = settings_in(tmp_path)
    address = f"127.0.0.1:{free_port()}"
    section = settings.controller.model_copy(update={"listen": address})
    file = tmp_path / "run.json"
    file.write_text(settings.model_copy(update={"controller": section}).model_dump_json())
    return file, address


def test_a_controller_that_cannot_start_tells_the_others_and_all_end_with_0(
    config: tuple[Path, str], tmp_path: Path
) -> None:
    file, address = config
    nowhere = ("--set", f"prompts.file={tmp_path / 'nowhere.jsonl'}")
    logs = [tmp_path / "controller.out", tmp_path / "replay.out"]
    replay = serve("replay", file, address, logs[1])
    controller = serve("controller", file, address, logs[0], *nowhere)
    try:
        assert replay.wait(SECONDS) == 0, logs[1].read_text()
        assert controller.wait(SECONDS) == 0, logs[0].read_text()
    finally:
        replay.kill()
        controller.kill()
    assert "the run ends here: cannot start" in last_line(logs[0])
    assert "nowhere.jsonl" in last_line(logs[0])


def test_a_member_that_cannot_start_has_the_run_stopped_and_the_controller_says_why(
    config: tuple[Path, str], tmp_path: Path
) -> None:
    file, address = config
    logs = [tmp_path / "controller.out", tmp_path / "replay.out"]
    controller = serve("controller", file, address, logs[0])
    replay = serve("replay", file, address, logs[1], "--set", "replay.listen=203.0.113.7:1")
    try:
        assert replay.wait(SECONDS) == 0, logs[1].read_text()
        assert controller.wait(SECONDS) == 0, logs[0].read_text()
    finally:
        replay.kill()
        controller.kill()
    assert "the run ends here: cannot start" in last_line(logs[1])
    said = last_line(logs[0])
    assert "the run was stopped" in said
    assert "replay.listen" in said
