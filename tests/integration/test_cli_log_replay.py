"""A learner fed with the log of a run whose services came and went ends at the run's weights, to the bit."""

import shutil
from pathlib import Path

import pytest

from areal_mesh.cli.checkpoints import list_checkpoints
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.log_replay import replay_log
from areal_mesh.client import MeshClient
from areal_mesh.learner.checkpoints.manifest import folders
from areal_mesh.runtime.settings import RunSettings
from tests.chaos.recovery import check_books
from tests.integration.live_mesh import BATCH_GROUPS, LiveMesh, live_mesh, live_settings

pytestmark = pytest.mark.timeout(300)


def two_stages(folder: Path) -> RunSettings:
    """The live mesh with a change of stage, at which optimizer and reference restart, and a log that is kept."""
    values = live_settings(folder).model_dump(mode="json")
    first = values["stages"][0]
    values["stages"] = [first | {"max_steps": 5}, first | {"name": "16K"}]
    # The engine's answers are all wrong: what moves the weights then is the KL reward.
    values["algorithm"]["update_on_equal_rewards"] = True
    values["replay"] |= {"keep_released": True, "segment_bytes": 1 << 20}
    return RunSettings.model_validate(values)


async def disturbed(mesh: LiveMesh) -> None:
    """Steps with every service but the controller gone once, the learner twice, and a checkpoint asked for."""
    for step, role in enumerate(("learner", "replay", "generator", "verifier", "learner"), start=1):
        await mesh.until_step(2 * step)
        await mesh.stop(role)
        await mesh.start(role)
    async with MeshClient.connect(mesh.addresses["controller"]) as client:
        asked = await client.take_checkpoint()
    await mesh.until_step(asked + 4)


@pytest.fixture
async def run(tmp_path: Path) -> Path:
    """The directory of such a run."""
    settings = two_stages(tmp_path)
    async with live_mesh(settings) as mesh:
        await disturbed(mesh)
    (settings.run_directory / "settings.json").write_text(settings.model_dump_json(), encoding="utf-8")
    return settings.run_directory


def test_a_replay_ends_at_the_weights_of_the_run_to_the_bit(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = check_books(run, BATCH_GROUPS, max_staleness=1)
    newest, older = folders(run / "checkpoints")[:2]
    assert replay_log(str(run), None, None, "", str(tmp_path / "export")) == 0
    assert f"{newest}: 61 tensors" in capsys.readouterr().out
    # From a checkpoint on; and what is exported is compared as well.
    version = int(older.name.rpartition("-")[2])
    assert replay_log(str(run), version, None, "", "") == 0
    last = int(newest.name.rpartition("-")[2])
    assert replay_log(str(run), version, last, str(tmp_path / "export"), "") == 0
    assert "equal to the replay's bit for bit" in capsys.readouterr().out
    # Other weights are told, tensor by tensor.
    assert replay_log(str(run), None, last, str(older), "") == 1
    assert "policy.model.embed_tokens.weight: " in capsys.readouterr().out
    with pytest.raises(CommandFailed, match=f"step {steps + 1} is not committed"):
        replay_log(str(run), None, steps + 1, "", "")
    shutil.rmtree(run / "replay" / "groups")
    with pytest.raises(CommandFailed, match="no replay log is there"):
        replay_log(str(run), None, None, "", "")


def test_checkpoints_are_listed_with_what_is_wrong(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list_checkpoints(str(run), as_json=False, contents=True) == 0
    assert "whole, every hash right" in capsys.readouterr().out
    metadata = folders(run / "checkpoints")[0] / ".metadata"
    metadata.write_bytes(metadata.read_bytes()[:-1] + b"?")
    assert list_checkpoints(str(run), as_json=False, contents=False) == 0
    assert list_checkpoints(str(run), as_json=True, contents=True) == 1
    assert ".metadata is not what was written" in capsys.readouterr().out
