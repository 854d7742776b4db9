"""Rank 0 leads another rank through the commands of a run: real processes over Gloo."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from areal_mesh.learner.ranks import RankLeader, start_ranks
from areal_mesh.runtime.settings import RunSettings, load_settings
from tests.unit.learner_support import make_batch, write_model

# The other rank imports torch and transformers: slow on a loaded machine.
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def settings(tmp_path: Path) -> RunSettings:
    folder = write_model(tmp_path / "model")
    overrides = [f"model.folder={folder}", "model.recipe=", f"directory={tmp_path}", "learner.ranks=2"]
    return load_settings("trial", overrides)


@pytest.fixture
def leader(settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[RankLeader]:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # put back afterwards: the leader sets them
        monkeypatch.delenv(name)
    leading = start_ranks(settings)
    yield leading
    leading.kill_followers()
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def test_ranks_step_publish_and_stop_together(leader: RankLeader, settings: RunSettings) -> None:
    leader.step(make_batch(seed=1))
    for _ in range(3):
        leader.keep_followers()
    # A publish that fails after its first tensor leaves no rank in a gather that nobody else joins.
    tensors = leader.named_tensors()
    first = next(tensors)
    tensors.close()
    leader.step(make_batch(seed=2, version=1))
    assert leader.policy_version == 2
    whole = dict(leader.named_tensors())
    assert {name: tuple(tensor.shape) for name, tensor in whole.items()} == {
        name: shape for name, _, shape in leader.tensor_specs()
    }
    assert not torch.equal(whole[first[0]], first[1]), "the second step moved the weights"
    leader.save_checkpoint(2, "8")
    leader.wait_for_checkpoint()
    assert (settings.run_directory / "checkpoints" / "version-00000002" / "manifest.json").is_file()
    leader.check_followers()
    leader.stop()


def test_a_rank_that_ends_is_noticed(leader: RankLeader) -> None:
    leader.kill_followers()
    for follower in leader._followers:
        follower.wait(timeout=30)
    with pytest.raises(RuntimeError, match=r"ranks \[1\] have ended"):
        leader.check_followers()
