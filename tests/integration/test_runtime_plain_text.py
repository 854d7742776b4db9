"""A run that speaks plain text where others may listen says so, everywhere and for as long as it runs."""

from pathlib import Path

import pytest

from areal_mesh.client import MeshClient
from areal_mesh.runtime.security.warning import plain_text_warning
from areal_mesh.runtime.settings import load_settings
from tests.integration.controller_mesh import controller, settings_in

BEYOND = ["plaintext_beyond_loopback=true", "replay.listen=0.0.0.0:0", "controller.listen=10.0.0.1:7400"]


def test_the_warning_names_what_is_open_and_what_would_do(tmp_path: Path) -> None:
    text = plain_text_warning(load_settings("trial", BEYOND))
    assert text.startswith("PLAIN TEXT beyond loopback (controller, replay): whoever reaches these ports can read")
    assert "areal-mesh certs init" in text
    assert plain_text_warning(load_settings("trial")) == ""
    assert plain_text_warning(load_settings("trial", ["plaintext_beyond_loopback=true"])) == ""
    assert plain_text_warning(load_settings("trial", [*BEYOND[1:], f"security.certificates={tmp_path}"])) == ""


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "127.0.0.1:0"])
async def test_the_status_says_it_for_as_long_as_the_run_goes_on(tmp_path: Path, listen: str) -> None:
    closed = settings_in(tmp_path)
    section = closed.controller.model_copy(update={"listen": listen})
    settings = closed.model_copy(update={"controller": section, "plaintext_beyond_loopback": True})
    async with controller(settings) as (_, address):
        port = address.rpartition(":")[2]
        async with MeshClient.connect(f"127.0.0.1:{port}") as mesh:
            for _ in range(2):
                said = [fault.text for fault in (await mesh.status()).faults if "PLAIN TEXT" in fault.text]
                assert len(said) == (listen == "0.0.0.0:0")
