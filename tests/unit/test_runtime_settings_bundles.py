"""Algorithms by name: each is on every preset, keeps the batch, and gives way to what is set beside it."""

import itertools
from pathlib import Path

import pytest

from areal_mesh.learner.trainer import Trainer
from areal_mesh.runtime.settings import AlgorithmSettings, SettingsError, load_settings, preset_names
from areal_mesh.runtime.settings.bundles import bundle_names
from areal_mesh.runtime.settings.files import presets_folder
from tests.unit.learner_support import make_batch, write_model

ROOT = Path(__file__).parents[2]
BUNDLES = bundle_names(presets_folder())
PARTS = ("advantage", "loss", "average", "kl_loss", "overlong", "filters")


def test_the_bundles_are_those_of_the_page() -> None:
    assert BUNDLES == ["areal", "cispo", "dapo", "dr_grpo", "grpo", "gspo", "rloo"]
    page = (ROOT / "docs" / "learner.md").read_text(encoding="utf-8")
    assert [name for name in BUNDLES if f"| `{name}` |" not in page.split("## Algorithms by name")[1]] == []


@pytest.mark.parametrize(("preset", "bundle"), itertools.product(preset_names(), BUNDLES))
def test_a_bundle_replaces_the_algorithm_of_any_preset_and_nothing_else(preset: str, bundle: str) -> None:
    plain, chosen = load_settings(preset), load_settings(preset, [f"algorithm={bundle}"])
    kept = set(AlgorithmSettings.model_fields) - set(PARTS)
    assert chosen.algorithm.model_dump(include=kept) == plain.algorithm.model_dump(include=kept)
    assert chosen.model_copy(update={"algorithm": plain.algorithm}) == plain
    # The same whatever the preset had there.
    assert chosen.algorithm.model_dump(include=set(PARTS)) == load_settings(
        "trial", [f"algorithm={bundle}"]
    ).algorithm.model_dump(include=set(PARTS))


def test_what_is_set_beside_a_bundle_wins_in_either_order() -> None:
    for overrides in itertools.permutations(
        ("algorithm.loss.clip=0.3", "algorithm=grpo", "algorithm.overlong.type=mask")
    ):
        algorithm = load_settings("trial", overrides).algorithm
        assert algorithm.advantage.type == "grpo"
        assert algorithm.loss.model_dump()["clip"] == 0.3
        assert algorithm.overlong is not None


@pytest.mark.parametrize("text", ['algorithm = "dapo"', '[algorithm]\nextends = "dapo"'])
def test_a_file_may_name_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'extends = "distill-1.5b-1node"\n{text}\n')
    named = load_settings(file).algorithm
    assert named == load_settings("distill-1.5b-1node", ["algorithm=dapo"]).algorithm
    assert named.batch_groups == 1024


def test_a_file_may_change_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('extends = "trial"\n[algorithm]\nextends = "dapo"\nloss.clip_high = 0.4\nbatch_groups = 8\n')
    algorithm = load_settings(file).algorithm
    assert (algorithm.batch_groups, algorithm.loss.model_dump()["clip_high"]) == (8, 0.4)
    assert algorithm.average == "tokens"


@pytest.mark.parametrize("name", ["grop", "ppo", "../trial"])
def test_a_name_that_is_not_there_is_an_error_with_those_that_are(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"trial: algorithm: there is no '{name}'; choose areal, cispo, dapo, dr_"):
        load_settings("trial", [f"algorithm={name}"])


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_trains(bundle: str, tmp_path: Path) -> None:
    model = (f"model.folder={write_model(tmp_path)}", "model.recipe=", "learner.threads=1", "learner.warmup_share=0")
    # Of its three groups some say nothing to some algorithms, and would be fewer minibatches.
    overrides = [f"algorithm={bundle}", "algorithm.minibatch_by=response", *model]
    result = Trainer(load_settings("trial", overrides)).step(make_batch(0))
    assert result.figures["optimizer_updates"] == 4
    assert ("kl_loss" in result.figures) is (bundle == "grpo")
