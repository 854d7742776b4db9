"""A service as a process of its own, through what its host gives it: signals, and a controller that may be away."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from areal_mesh.controller.service import build
from areal_mesh.runtime.errors import CannotGoOn
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.service import ServiceContext, run_service
from tests.integration.controller_mesh import controller, settings_in
from tests.integration.replay_process import PATIENCE_SECONDS, read_until, replay_service

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_service_told_to_drain_while_no_controller_answers_ends_at_once(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with replay_service(tmp_path, NOBODY) as process:
        await read_until(process, "serving")
        process.send_signal(number)
        # Far from the two minutes that a controller is waited for, and from the time that a drain is given.
        async with asyncio.timeout(15.0):
            assert await process.wait() == 0


def test_a_service_whose_terminal_is_gone_still_drains(tmp_path: Path) -> None:
    serve = (sys.executable, "-m", "areal_mesh.cli", "serve", "replay", "--config", "trial", "--controller", NOBODY)
    process = subprocess.Popen(
        [*serve, "--set", f"directory={tmp_path}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stderr is not None
        assert any("serving" in line for line in process.stderr)
        process.stderr.close()
        process.send_signal(signal.SIGHUP)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    log = (tmp_path / "trial" / "logs" / "replay-0.jsonl").read_text()
    assert log.index("told to drain") < log.index("left without the controller"), "it came to its end"


@pytest.mark.parametrize(
    ("arguments", "theirs"),
    [(("--set", "name=mesh", "--run-id", "two"), "mesh (id two)"), (("--run-id", "one"), "trial (id one)")],
)
async def test_a_service_of_another_run_says_so_and_is_not_to_be_started_again(
    tmp_path: Path, arguments: tuple[str, ...], theirs: str
) -> None:
    async with (
        controller(settings_in(tmp_path), run_id="one") as (_, address),
        replay_service(tmp_path / "other", address, *arguments) as process,
        asyncio.timeout(PATIENCE_SECONDS),
    ):
        _, errors = await process.communicate()
    assert process.returncode == EXIT_CANNOT_START
    last_line = errors.decode().splitlines()[-1]
    assert last_line.startswith(f"areal-mesh replay-0: cannot start: the controller at {address} refuses it: ")
    assert f"it serves the run mesh (id one), and replay-0 belongs to {theirs}; " in last_line


async def test_a_service_of_the_run_joins_it_with_its_id_and_without(tmp_path: Path) -> None:
    async with controller(settings_in(tmp_path), run_id="one") as (_, address):
        for arguments in (("--run-id", "one"), ()):
            async with replay_service(tmp_path / "runs", address, "--set", "name=mesh", *arguments) as process:
                await read_until(process, "registered")


@pytest.mark.parametrize("variable", ["http_proxy", "https_proxy", "grpc_proxy"])
async def test_a_proxy_in_the_environment_never_touches_the_meshs_own_calls(tmp_path: Path, variable: str) -> None:
    proxy = {variable: f"http://{NOBODY}", variable.upper(): f"http://{NOBODY}", "no_proxy": "", "NO_PROXY": ""}
    async with (
        controller(settings_in(tmp_path), run_id="one") as (_, address),
        replay_service(tmp_path / "runs", address, "--set", "name=mesh", environment=proxy) as process,
    ):
        await read_until(process, "registered")


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_a_service_is_served_measured_and_found_at_an_ipv6_address(tmp_path: Path) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    own = ("--set", "name=mesh", "--set", "replay.listen=[::1]:0", "--set", f"replay.metrics_port={port}")
    async with (
        controller(settings_in(tmp_path, {"listen": "[::1]:0"})) as (service, address),
        replay_service(tmp_path / "runs", address, *own) as process,
    ):
        assert address.startswith("[::1]:")
        await read_until(process, "registered")
        # The controller asks the replay buffer for its statistics at the address that it was told.
        async with asyncio.timeout(PATIENCE_SECONDS):
            await service.channels.to(next(iter(service.channels.addresses))).channel_ready()
        assert all(re.fullmatch(r"\[::1\]:\d+", found) for found in service.channels.addresses)
        page = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://[::1]:{port}/metrics").read())
        assert b"areal_mesh_rpc_calls_total" in page


async def test_a_service_that_listens_everywhere_and_names_no_host_says_what_would_do(tmp_path: Path) -> None:
    everywhere = ("--set", "plaintext_beyond_loopback=true", "--set", "replay.listen=0.0.0.0:0")
    async with replay_service(tmp_path, NOBODY, *everywhere) as process, asyncio.timeout(PATIENCE_SECONDS):
        assert process.stderr is not None
        last_line = (await process.stderr.read()).decode().splitlines()[-1]
        assert await process.wait() == EXIT_CANNOT_START
    assert last_line.startswith("areal-mesh replay-0: cannot start: replay.listen = 0.0.0.0:0: every interface is no ")
    assert last_line.endswith("with --set replay.advertise=HOST")


async def test_a_controllers_address_that_is_none_is_said(tmp_path: Path) -> None:
    async with replay_service(tmp_path, "::1:7400") as process, asyncio.timeout(PATIENCE_SECONDS):
        assert process.stderr is not None
        last_line = (await process.stderr.read()).decode().splitlines()[-1]
        assert await process.wait() == 2
    assert "argument --controller: " in last_line
    assert "is an IPv6 address without brackets; write host:port" in last_line


def test_a_service_that_cannot_go_on_says_so_and_is_not_to_be_started_again(capsys: pytest.CaptureFixture[str]) -> None:
    def context() -> ServiceContext:
        raise CannotGoOn("5 groups in a row ended in vain")

    assert run_service(context, build).exit_code == EXIT_CANNOT_START
    assert capsys.readouterr().err == "areal-mesh service: cannot go on: 5 groups in a row ended in vain\n"
