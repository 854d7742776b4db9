"""One learner on two hosts of two ranks each, in network namespaces, Gloo between them: as one rank, or not at all."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import RunSettings
from tests.chaos.hosts import Host, HostedProcess, Network, network, why_no_hosts
from tests.unit.learner_support import make_batch, settings_for, write_model

WHY_NOT = why_no_hosts()
pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))]
LOST_SECONDS = 5.0


class Leader:
    """`learner_leader` on a host; what it says, line by line."""

    def __init__(self, host: Host, settings: Path, folder: Path) -> None:
        words = [sys.executable, "-m", "tests.chaos.learner_leader", str(settings), str(folder)]
        self._log = (folder / "leader.log").open("ab")
        self._process = subprocess.Popen(
            host.command(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, start_new_session=True
        )

    def says(self) -> str:
        """Its next line; empty once it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().decode().strip()

    def stop(self) -> str:
        """Has it stop the ranks; what it says then."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"stop\n")
        self._process.stdin.flush()
        return self.says()

    def kill(self) -> None:
        """Ends it and its ranks."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=30)
        self._log.close()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[Host, Host]]:
    with network() as made:
        yield two_hosts(made)


def two_hosts(made: Network) -> tuple[Host, Host]:
    return made.host(), made.host()


def written(settings: RunSettings, folder: Path) -> Path:
    path = folder / "settings.json"
    path.write_text(settings.model_dump_json(), encoding="utf-8")
    return path


def shared(model: Path, folder: Path, first: Host, *overrides: str) -> RunSettings:
    return settings_for(
        model,
        f"directory={folder}",
        "learner.ranks=4",
        "learner.hosts=2",
        "learner.sharding=hybrid",
        f"learner.rendezvous={first.address}:7600",
        f"learner.lost_rank_seconds={LOST_SECONDS:g}",
        *overrides,
    )


@contextmanager
def learner(hosts: tuple[Host, Host], settings: RunSettings, folder: Path) -> Iterator[tuple[Leader, HostedProcess]]:
    """Both hosts' ranks; the second as a user starts it."""
    config = written(settings, folder)
    leader = Leader(hosts[0], config, folder)
    words = [sys.executable, "-m", "areal_mesh.cli", "serve", "learner", "--config", str(config), "--node-rank", "1"]
    other = HostedProcess(hosts[1], words, folder / "host-1.log", dict(os.environ))
    try:
        yield leader, other
    finally:
        other.kill()
        leader.kill()


def stepped_alone(model: Path, folder: Path) -> dict[str, torch.Tensor]:
    trainer = Trainer(settings_for(model, f"directory={folder}"))
    for step in range(2):
        trainer.step(make_batch(seed=step, version=step))
    return dict(trainer.named_tensors())


def test_two_hosts_of_two_ranks_take_the_steps_of_one_and_load_its_checkpoint(
    hosts: tuple[Host, Host], model: Path, tmp_path: Path
) -> None:
    settings = shared(model, tmp_path, hosts[0])
    with learner(hosts, settings, tmp_path) as (leader, other):
        assert leader.says() == "stepped", (tmp_path / "leader.log").read_text()
        assert leader.stop() == "stopped"
        assert other.wait(seconds=60) == 0
    together = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.testing.assert_close(together, stepped_alone(model, tmp_path / "alone"), rtol=0, atol=1e-5)
    # Their checkpoint on one rank ...
    one = Trainer(settings_for(model, f"directory={tmp_path}"))
    checkpoints = CheckpointStore(settings.run_directory / "checkpoints", 2, one)
    manifest = checkpoints.load_latest()
    assert manifest is not None
    assert (manifest.policy_version, manifest.world_size) == (1, 4)
    one.step(make_batch(seed=1, version=1))
    torch.testing.assert_close(dict(one.named_tensors()), together, rtol=0, atol=1e-5)
    # ... and that of one rank on theirs.
    checkpoints.save(2, "8k")
    checkpoints.close()
    with learner(hosts, settings, tmp_path) as (leader, other):
        assert leader.says() == "stepped", (tmp_path / "leader.log").read_text()
        assert leader.stop() == "stopped"
    restored = torch.load(tmp_path / "weights.pt", weights_only=True)
    torch.testing.assert_close(restored, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("how", ["killed", "cut off"])
def test_a_host_that_is_lost_ends_the_group_within_seconds(
    hosts: tuple[Host, Host], model: Path, tmp_path: Path, how: str
) -> None:
    settings = shared(model, tmp_path, hosts[0], "learner.sharding=full")
    with learner(hosts, settings, tmp_path) as (leader, other):
        assert leader.says() == "stepped", (tmp_path / "leader.log").read_text()
        began = time.monotonic()
        if how == "killed":
            other.kill()
        else:
            hosts[1].cut()
        try:
            said = leader.says()
            # The second of them falls silent within a beat of the first.
            assert re.match(r"lost: ranks \[(2|3|2, 3)\] were silent for 5 s", said), said
            assert time.monotonic() - began < LOST_SECONDS + 10
            if how == "cut off":
                assert other.wait(seconds=60) == 1
                # By the store, or by the leader's own beat: the last of either may have got through.
                assert re.search(r"(no answer in|were silent for) 5 s", (tmp_path / "host-1.log").read_text())
        finally:
            hosts[1].mend()
