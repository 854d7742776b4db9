"""A peer that dies in a broadcast is an error to its group, and never the end of a process."""

import subprocess
import sys

import pytest

from areal_mesh.weights.transports.store import StoreMeeting
from tests.integration.nccl_like import ENDED_BY_WATCHDOG


@pytest.mark.parametrize(("mode", "code", "said"), [("raised", 0, "raised: "), ("left-alone", ENDED_BY_WATCHDOG, "")])
def test_a_peer_that_dies_is_an_error_where_it_is_waited_for(mode: str, code: int, said: str) -> None:
    store = StoreMeeting("127.0.0.1")
    command = [sys.executable, "-m", "tests.integration.nccl_like", f"tcp://{store.address}"]
    with subprocess.Popen([*command, "1", mode]) as peer:
        rank_0 = subprocess.run([*command, "0", mode], capture_output=True, text=True, timeout=120)
        peer.wait(60)
    store.close()
    assert rank_0.returncode == code, rank_0.stderr
    assert rank_0.stdout.startswith(said), rank_0.stdout
    if mode == "raised":
        assert "broadcasting to group 'members' of 2 failed" in rank_0.stdout
