"""The command against a controller over TLS: certificates and token from options, files and the environment."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.tls_mesh import certificate_folder, echo_controller, write_tokens

SECONDS = 30.0


async def stop(address: str, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "areal_mesh.cli", "stop", "--controller", address, *options]
    clean = {"PATH": "/usr/bin:/bin", **environment}
    return await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=SECONDS, env=clean, check=False
    )


@pytest.fixture
def certs(tmp_path: Path) -> Path:
    certificate_folder(tmp_path / "certs")
    return tmp_path / "certs"


async def test_an_operator_steers_with_a_token_from_a_file_or_the_environment(certs: Path, tmp_path: Path) -> None:
    token = write_tokens(certs, anna="operator")["anna"]
    (tmp_path / "token").write_text(token + "\n")
    async with echo_controller(certs) as (servicer, address):
        given = await stop(address, "--certificates", str(certs), "--token-file", str(tmp_path / "token"))
        held = await stop(address, AREAL_MESH_CERTIFICATES=str(certs), AREAL_MESH_TOKEN=token)
        named = await stop(address, AREAL_MESH_CERTIFICATES=str(certs), AREAL_MESH_TOKEN_FILE=str(tmp_path / "token"))
    for done in (given, held, named):
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("stopping: ")
        assert token not in done.stdout + done.stderr
    assert servicer.calls == ["Stop", "Stop", "Stop"]


async def test_whoever_is_refused_is_told_what_would_do(certs: Path, tmp_path: Path) -> None:
    token = write_tokens(certs, bob="read-only")["bob"]
    async with echo_controller(certs) as (servicer, address):
        read_only = await stop(address, "--certificates", str(certs), AREAL_MESH_TOKEN=token)
        plain = await stop(address)
        no_token = await stop(address, "--certificates", str(certs))
        nothing = await stop(address, "--certificates", str(tmp_path / "none"))
        no_file = await stop(address, "--certificates", str(certs), "--token-file", str(tmp_path / "none"))
    assert servicer.calls == []
    for done, told in (
        (read_only, "needs an operator's token; the caller is bob"),
        (plain, f"the controller at {address} is not reached: it speaks TLS; name a folder of certificates"),
        (no_token, "people need a token beside their certificate: make one with `areal-mesh tokens add NAME`"),
        (nothing, "no certificate for the client, looked for client.pem; make one with `areal-mesh certs issue client"),
        (no_file, "none: no such file or directory; name the file of a token"),
    ):
        assert done.returncode == 1
        [line] = done.stderr.splitlines()
        assert told in line
