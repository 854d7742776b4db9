"""A whole mesh over mutual TLS: it trains and publishes, one token steers it, another looks; no secret is logged."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from areal_mesh.client import MeshClient, RequestRefused, client_credentials
from areal_mesh.runtime.telemetry import configure_logging
from tests.integration.live_mesh import live_mesh, live_settings
from tests.integration.tls_mesh import certificate_folder, write_tokens

SECONDS = 60.0


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the logs, which tests otherwise do without."""
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    configure_logging("mesh", tmp_path / "logs")
    yield tmp_path / "logs"
    structlog.reset_defaults()


async def test_a_run_over_tls_trains_publishes_and_is_steered_and_logs_no_secret(tmp_path: Path, logs: Path) -> None:
    certs = tmp_path / "certs"
    certificate_folder(certs)
    tokens = write_tokens(certs, anna="operator", bob="read-only")
    async with live_mesh(live_settings(tmp_path, certificates=certs), tokens["bob"]) as mesh:
        status = await mesh.until_step(3)
        assert status.published_version >= 1
        assert not [fault.text for fault in status.faults]
        transfer_key = mesh.contexts["learner"].standing.said
        assert transfer_key is not None
        address = mesh.addresses["controller"]
        async with MeshClient.connect(address, credentials=client_credentials(certs, tokens["bob"])) as bob:
            with pytest.raises(RequestRefused, match="needs an operator's token"):
                await bob.pause()
            config = await bob.config()
        async with MeshClient.connect(address, credentials=client_credentials(certs, tokens["anna"])) as anna:
            await anna.pause()
            assert str((await anna.status()).state) == "paused"
            await anna.resume()
    assert config["security"]["certificates"] == str(certs)
    written = b"".join(path.read_bytes() for path in (tmp_path / "logs").iterdir())
    written += b"".join(path.read_bytes() for path in (tmp_path / "runs").rglob("*") if path.is_file())
    assert b"serving" in written or b"registered" in written
    keys = [line for path in certs.glob("*.pem") for line in path.read_bytes().split(b"PRIVATE KEY")[1:2]]
    assert len(keys) == 6
    secrets = [*(token.encode() for token in tokens.values()), transfer_key.transfer_key]
    secrets += [key.split(b"\n")[1] for key in keys]
    assert not [secret for secret in secrets if secret in written]
