"""The live view in a real terminal, at 120 by 35 and at 80 by 24, at every moment of a run.

The controller is simulated, so that each moment lasts as long as it is looked at; `make test-user` does the same with a
whole run. With $AREAL_MESH_SCREENS the screens are kept there as text files.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.runtime.waiting import wait_until
from areal_mesh.v1 import common_pb2, status_pb2
from tests.integration.simulated_controller import SimulatedStatus, example_status
from tests.integration.tmux import SIZES, Terminal, keep, needs_tmux, terminal

SECONDS = 30.0
SERVICES = (
    ("controller", "controller", common_pb2.ROLE_CONTROLLER, "steps"),
    ("replay-0", "replay", common_pb2.ROLE_REPLAY, "groups"),
    ("verifier-0", "verifier", common_pb2.ROLE_VERIFIER, "answers"),
    ("generator-0", "generator", common_pb2.ROLE_GENERATOR, "tokens"),
    ("learner-0", "learner", common_pb2.ROLE_LEARNER, "tokens"),
)


def at_start() -> status_pb2.RunStatus:
    status = status_pb2.RunStatus(
        run_name="example",
        state=status_pb2.RUN_STATE_STARTING,
        stage=common_pb2.Stage(index=0, name="8", max_response_tokens=40),
        stages=3,
        planned_steps=110,
        published_version=-1,
    )
    status.started.GetCurrentTime()
    add_services(status, "generator-0")
    return status


def in_the_middle() -> status_pb2.RunStatus:
    status = example_status(40)
    del status.services[:]
    status.step_metrics.update({"step_seconds": 2.0, "equal_rewards": 0.25, "mismatch_kl": 1e-4})
    status.end_reasons.update({"filtered: all responses are right": 12, "stale: too old": 3})
    status.reason_tokens.update({"filtered: all responses are right": 18.0})
    add_services(status)
    return status


def at_a_restart() -> status_pb2.RunStatus:
    status = in_the_middle()
    verifier = status.services[2]
    verifier.state, verifier.starts = common_pb2.SERVICE_STATE_LOST, 2
    status.faults.add(service_id="verifier-0", text="no heartbeat for 12 s; its leases are issued again")
    return status


def at_the_end() -> status_pb2.RunStatus:
    status = in_the_middle()
    status.state = status_pb2.RUN_STATE_FINISHED
    status.step = status.policy_version = status.published_version = 110
    return status


def add_services(status: status_pb2.RunStatus, starting: str = "") -> None:
    for place, (name, _, role, unit) in enumerate(SERVICES):
        state = common_pb2.SERVICE_STATE_STARTING if name == starting else common_pb2.SERVICE_STATE_SERVING
        status.services.add(
            role=role,
            service_id=name,
            address=f"127.0.0.1:{40000 + place}",
            state=state,
            starts=1,
            policy_version=-1 if name == starting else status.policy_version,
            rate=0.0 if name == starting else 1234.5,
            rate_unit=unit,
        )


class Moments(SimulatedStatus):
    """Shows one moment until another is set."""

    def __init__(self) -> None:
        super().__init__()
        self.moment = at_start()

    async def WatchStatus(self, request: Any, context: Any) -> AsyncIterator[status_pb2.WatchStatusResponse]:
        never = asyncio.Event()
        while not await wait_until(never, 0.2):
            yield status_pb2.WatchStatusResponse(status=self.moment)


def contains(part: str) -> Callable[[str], bool]:
    return lambda text: part in text


def screens_of(shown: Terminal, moment: str, tmp_path: Path) -> list[str]:
    """The screens of a moment, each as one text; they fit their sizes, and are kept."""
    screens = shown.at_each_size()
    for (columns, lines), text in screens.items():
        assert len(text) <= lines
        assert max(map(len, text)) <= columns
    keep(screens, moment, Path(os.environ.get("AREAL_MESH_SCREENS") or tmp_path / "screens"))
    return ["\n".join(screens[size]) for size in SIZES]


@pytest.fixture
def simulated_status() -> Moments:
    return Moments()


@needs_tmux
async def test_the_live_view_fits_and_tells_at_every_moment(
    address: str, simulated_status: Moments, tmp_path: Path
) -> None:
    command = f"{Path(sys.executable).with_name('areal-mesh')} status --watch --controller {address}"
    moments = {
        "start": (at_start(), ("starting", "generator-0", "reward -", "elapsed")),
        "middle": (
            in_the_middle(),
            ("elapsed", "left 2 min 20 s at most", "40/110", "reward +1.250", "filtered: all resp"),
        ),
        "restart": (at_a_restart(), ("verifier-0", "lost", "no heartbeat for 12 s")),
        "end": (at_the_end(), ("finished", "110/110")),
    }
    with terminal(tmp_path, tmp_path, os.environ) as shown:
        shown.type(f"clear; {command}")
        for moment, (status, parts) in moments.items():
            simulated_status.moment = status
            await asyncio.to_thread(shown.until, moment, contains(parts[-1]), SECONDS)
            for screen in await asyncio.to_thread(screens_of, shown, moment, tmp_path):
                assert [part for part in parts if part not in screen] == [], screen
                assert all(name in screen for name, *_ in SERVICES), screen
                assert "+0.00" not in screen, "no reward before there is one"
                assert screen.count("reward +") + screen.count("reward -") == 1, (
                    "what was folded as the terminal shrank is gone"
                )
    assert len(list((tmp_path / "screens").glob("*.txt"))) in (0, 8)
