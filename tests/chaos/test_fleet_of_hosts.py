"""A fleet of generators on hosts of their own, one of them disturbed every 15 seconds while the learner trains on.

Ten minutes by `make test-hosts`; AREAL_MESH_TEST_HOSTS gives the seconds.
"""

import asyncio
import itertools
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from areal_mesh.client.mesh import MeshClient
from areal_mesh.runtime.channels import open_channel
from areal_mesh.runtime.identity import Identity
from tests.chaos.cluster import Cluster, cluster, ends_of
from tests.chaos.fleet_watch import FleetWatch
from tests.chaos.hosts import why_no_hosts
from tests.e2e.whole_mesh import assert_sums_hold, read_json

SECONDS = float(os.environ.get("AREAL_MESH_TEST_HOSTS", "0"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(SECONDS + 600),
    pytest.mark.skipif(not SECONDS, reason="hosts: ten minutes, run by `make test-hosts`"),
]
FLEET = 3
BETWEEN_SECONDS = 15.0
AWAY_SECONDS = 20.0
START_SECONDS = 240.0
MAX_STALENESS = 2
PUBLISH_SECONDS = (10.0, 20.0)
"""Deadlines of a publish: to get ready, and to transfer."""
OVERRIDES = (
    "name=fleet",
    "generator.cores=none",
    "learner.cores=none",
    "learner.threads=1",
    "stages.0.max_steps=100000",
    "algorithm.batch_groups=8",
    f"algorithm.max_staleness={MAX_STALENESS}",
    "generator.max_groups_in_flight=8",
    "generator.max_sequences=32",
    "generator.drain_seconds=5",
    "controller.lease_seconds=5",
    f"weights.prepare_seconds={PUBLISH_SECONDS[0]:g}",
    f"weights.transfer_seconds={PUBLISH_SECONDS[1]:g}",
)


@dataclass
class Disturber:
    """Disturbs one generator at a time, in turn, and never the last that is left alone."""

    mesh: Cluster
    watch: FleetWatch
    done: Counter[str] = field(default_factory=Counter)
    _added: "itertools.count[int]" = field(default_factory=lambda: itertools.count(FLEET))
    _away: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)
    """By service id: when it comes back, and how."""
    _killed: list[str] = field(default_factory=list)

    def disturb(self, kind: str) -> None:
        """One disturbance; none where fewer than two generators are there to lose."""
        if kind == "add":
            # A host that lost its power comes back, or else a new one is added.
            name = self._killed.pop() if self._killed else f"generator-{next(self._added)}"
            self.mesh.add_generator(name)
            self.done["added"] += 1
            return
        well = [name for name in self.watch.serving() if name not in self._away and self.mesh.services[name].running]
        if len(well) < 2:
            self.done["left out: one generator left"] += 1
            return
        victim = well[sum(self.done.values()) % len(well)]
        service = self.mesh.services[victim]
        back = time.monotonic() + AWAY_SECONDS
        if kind == "kill":
            service.kill()
            self._killed.append(victim)
        elif kind == "cut":
            service.host.cut()
            self._away[victim] = (back, service.host.mend)
        else:
            service.send(signal.SIGSTOP)
            self._away[victim] = (back, lambda: service.send(signal.SIGCONT))
        self.done[kind] += 1

    def bring_back(self, everyone: bool = False) -> None:
        """Mends what was cut or stopped for long enough."""
        for name, (when, mend) in list(self._away.items()):
            if everyone or time.monotonic() >= when:
                mend()
                del self._away[name]


async def disturbed(mesh: Cluster, watch: FleetWatch) -> Counter[str]:
    """Watches the run, and disturbs it once the whole fleet serves."""
    disturber = Disturber(mesh, watch)
    kinds = itertools.cycle(("kill", "add", "cut", "stop"))
    begun = next_at = 0.0
    async with MeshClient.connect(mesh.controller, timeout=30.0) as client:
        async for status in client.watch(interval=0.2):
            watch.see(status)
            now = time.monotonic()
            if not begun:
                if len(watch.serving()) == FLEET and status.step > 0:
                    begun, next_at = now, now
                continue
            disturber.bring_back()
            if now - begun >= SECONDS:
                disturber.bring_back(everyone=True)
                await client.stop("the disturbed minutes are over")
                break
            if now >= next_at:
                disturber.disturb(next(kinds))
                next_at = now + BETWEEN_SECONDS
    return disturber.done


async def until_reached(mesh: Cluster) -> None:
    """Waits for the controller to answer."""
    async with open_channel(mesh.controller, Identity("client", "person")) as channel:
        await asyncio.wait_for(channel.channel_ready(), START_SECONDS)


@pytest.mark.skipif(why_no_hosts() is not None, reason=f"hosts: {why_no_hosts()}")
async def test_training_goes_on_while_generators_come_and_go(tmp_path: Path) -> None:
    watch = FleetWatch()
    with cluster("trial", tmp_path, *OVERRIDES) as mesh:
        for number in range(FLEET):
            mesh.add_generator(f"generator-{number}")
        try:
            await until_reached(mesh)
            async with asyncio.timeout(SECONDS + START_SECONDS):
                done = await disturbed(mesh, watch)
        except BaseException:
            print(mesh.last_lines())
            raise
        print(f"disturbed {dict(done)}; longest gap between steps {watch.longest_gap:.1f} s")
        print("from ready for weights to serving: " + ", ".join(f"{name} {s:.1f} s" for name, s in watch.waits.items()))
        ends = ends_of(mesh)
    summary = read_json(tmp_path / "fleet" / "summary.json")
    print({key: summary[key] for key in ("steps", "groups", "staleness", "checksums", "mismatch_kl", "pause_seconds")})
    assert watch.longest_gap <= sum(PUBLISH_SECONDS)
    assert max(watch.waits.values()) <= sum(PUBLISH_SECONDS)
    assert summary["staleness"]["max"] <= MAX_STALENESS
    assert set(summary["checksums"]) == {"agreed"}
    assert summary["mismatch_kl"] < 1e-6
    assert_sums_hold(summary)
    check_ledger(tmp_path / "fleet" / "ledger.db", summary["steps"])
    assert {name: code for name, code in ends.items() if code and not name.startswith("generator")} == {}


def check_ledger(path: Path, steps: int) -> None:
    """Every step has its batch, no step is missing, no group was trained twice."""
    with sqlite3.connect(path) as ledger:
        trained = dict(ledger.execute("SELECT step, count(*) FROM groups WHERE state = 'trained' GROUP BY step"))
        assert sorted(trained) == list(range(1, steps + 1))
        assert set(trained.values()) == {8}
