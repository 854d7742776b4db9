"""A learner service with LoRA in a whole mesh: killed twice, it ends at the weights of one that was not, to the bit."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from areal_mesh.cli.export import export
from areal_mesh.cli.log_replay import replay_log
from areal_mesh.learner.checkpoints.manifest import folders, read_manifest
from areal_mesh.runtime.settings import RunSettings
from tests.chaos.recovery import check_books
from tests.integration.live_mesh import BATCH_GROUPS, LiveMesh, live_mesh, live_settings

pytest.importorskip("peft", reason="needs PEFT: install the learner extra")

pytestmark = pytest.mark.timeout(300)


def with_lora(folder: Path) -> RunSettings:
    """The live mesh with adapters, and a change of stage at which optimizer and reference restart."""
    values = live_settings(folder).model_dump(mode="json")
    first = values["stages"][0]
    values["stages"] = [first | {"max_steps": 3}, first | {"name": "16K"}]
    # The engine's answers are all wrong: what moves the weights then is the KL reward.
    values["algorithm"]["update_on_equal_rewards"] = True
    values["replay"] |= {"keep_released": True, "segment_bytes": 1 << 20}
    values["learner"]["lora"] = {"rank": 2, "alpha": 4}
    return RunSettings.model_validate(values)


async def killed_twice(mesh: LiveMesh) -> None:
    for step in (2, 5):
        await mesh.until_step(step)
        await mesh.stop("learner")
        await mesh.start("learner")
    await mesh.until_step(8)


@pytest.fixture
async def run(tmp_path: Path) -> Path:
    """The directory of such a run."""
    settings = with_lora(tmp_path)
    async with live_mesh(settings) as mesh:
        await killed_twice(mesh)
    (settings.run_directory / "settings.json").write_text(settings.model_dump_json(), encoding="utf-8")
    return settings.run_directory


def test_a_killed_learner_goes_on_to_the_bit_and_what_it_trained_is_exported_both_ways(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check_books(run, BATCH_GROUPS, max_staleness=1)
    newest = folders(run / "checkpoints")[0]
    manifest = read_manifest(newest)
    assert manifest.lora is not None
    assert manifest.reference_version == 3
    # A fresh learner that was never killed, fed with the log.
    assert replay_log(str(run), None, None, "", str(tmp_path / "replayed")) == 0
    # Seven layers with two matrices each: themselves, Adam's three and the reference's; and the random state.
    assert f"{newest}: {14 * 5 + 1} tensors" in capsys.readouterr().out
    export(str(run), manifest.policy_version, str(tmp_path / "merged"))
    export(str(run), manifest.policy_version, str(tmp_path / "adapters"), adapters=True)
    merged = load_file(tmp_path / "merged" / "model.safetensors")
    start = load_file(tmp_path / "model" / "model.safetensors")
    assert merged.keys() == start.keys()
    moved = {name for name in start if not torch.equal(start[name], merged[name])}
    assert moved
    assert all("_proj" in name for name in moved)
    adapters = load_file(tmp_path / "adapters" / "adapter_model.safetensors")
    for name in moved:
        layer = f"base_model.model.{name.removesuffix('.weight')}"
        product = 2.0 * adapters[f"{layer}.lora_B.weight"] @ adapters[f"{layer}.lora_A.weight"]
        torch.testing.assert_close(merged[name], start[name] + product, rtol=1e-6, atol=1e-7)
