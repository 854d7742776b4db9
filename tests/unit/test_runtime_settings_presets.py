"""The presets of published runs: each constant is that of AReaL's script, and what differs is said in the preset."""

from typing import Any

import pytest

from areal_mesh.runtime.settings import RunSettings, load_settings, preset_names
from areal_mesh.runtime.settings.files import presets_folder
from areal_mesh.runtime.settings.templates import TEMPLATES
from tests.unit.areal_scripts import constants_of

SYNCHRONOUS = [
    *(f"distill-1.5b-{nodes}node" for nodes in (1, 4, 16)),
    *(f"distill-1.5b-{nodes}node-areal-v0.1.0" for nodes in (1, 4, 16)),
    "distill-7b-4node",
    "distill-7b-16node",
    "zero-7b-16node",
    "zero-7b-16node-areal-v0.1.0",
]
ASYNCHRONOUS = {
    "distill-1.5b-1node-async": 8,
    "distill-1.5b-4node-async": 32,
    "distill-1.5b-16node-async": 128,
    "distill-7b-4node-async": 32,
    "distill-7b-16node-async": 128,
    "zero-7b-16node-async": 128,
}
"""With their GPUs."""
DEVIATIONS = {
    "distill-1.5b-16node": ("in float32", "FSDP2", "0.9", "Checkpoints by steps", "stages of one run"),
    "distill-1.5b-1node": ("four generate and four train",),
    "distill-1.5b-16node-areal-v0.1.0": ("the stages stay",),
    "distill-7b-16node": ("the stages are those of the 1.5B run",),
    "zero-7b-16node": ("the\n# limit grows", "nothing\n# restarts"),
    "zero-7b-16node-areal-v0.1.0": ("check_xml_format=True",),
    "distill-1.5b-1node-async": ("are masked", "256 responses"),
}


def value_at(settings: RunSettings, key: str) -> Any:
    """The setting of a dotted key; a stage's override by the key of its section."""
    found: Any = settings
    for part in key.split("."):
        if isinstance(found, list):
            found = found[int(part)]
        else:
            found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


@pytest.mark.parametrize("preset", SYNCHRONOUS)
def test_every_constant_of_a_published_preset_is_that_of_its_script(preset: str) -> None:
    settings = load_settings(preset)
    different = {
        key: (value_at(settings, key), f"{constant.name} in {constant.source}")
        for key, constant in constants_of(preset).items()
        if value_at(settings, key) != constant.value
    }
    assert not different
    assert all(stage.rules == [] for stage in settings.stages), "changed over by hand"
    rejected = (settings.algorithm.update_on_equal_rewards, settings.algorithm.rejected_part)
    assert rejected == (True, "micro_batch")
    assert settings.learner.warmup_counts == "steps"


def test_a_stage_of_a_distilled_run_restarts_what_its_run_began_with_and_a_zero_run_goes_on() -> None:
    for preset, restarts in (("distill-1.5b-16node", True), ("zero-7b-16node", False)):
        later = load_settings(preset).stages[1:]
        assert {(stage.restart_optimizer, stage.restart_reference) for stage in later} == {(restarts, restarts)}


@pytest.mark.parametrize("preset", ASYNCHRONOUS)
def test_an_asynchronous_preset_has_the_papers_split_and_otherwise_the_recipe(preset: str) -> None:
    settings, published = load_settings(preset), load_settings(preset.removesuffix("-async"))
    gpus = ASYNCHRONOUS[preset]
    assert (settings.generator.gpu_count, settings.learner.ranks) == (gpus * 3 // 4, gpus // 4)
    assert settings.algorithm.max_staleness > 0
    assert settings.algorithm.loss.type == "decoupled_ppo"
    same = {"loss": published.algorithm.loss, "max_staleness": 0}
    assert settings.algorithm.model_copy(update=same) == published.algorithm
    assert (settings.stages, settings.prompts, settings.model) == (
        published.stages,
        published.prompts,
        published.model,
    )


@pytest.mark.parametrize("preset", DEVIATIONS)
def test_what_differs_from_the_script_is_said_in_the_presets_own_comment(preset: str) -> None:
    text = (presets_folder() / f"{preset}.toml").read_text(encoding="utf-8")
    comment = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    assert "differs" in comment
    assert [said for said in DEVIATIONS[preset] if said not in comment] == []


@pytest.mark.parametrize(
    "preset", [name for name in preset_names() if not name.startswith("trial") and "compose" not in name]
)
def test_every_preset_begins_with_what_it_is(preset: str) -> None:
    text = (presets_folder() / f"{preset}.toml").read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert load_settings(preset).name == preset


def test_the_starters_are_for_one_gpu_that_both_share() -> None:
    for preset in ("qwen2.5-0.5b-1gpu", "qwen2.5-1.5b-1gpu", "distill-7b-lora-1gpu"):
        settings = load_settings(preset)
        assert (settings.generator.gpus, settings.learner.gpus) == ([0], [0])
        assert settings.weights.transport.type == "ipc", "NCCL takes no two members on one GPU"


def test_a_template_by_name_is_its_text_with_the_problem_and_the_instruction() -> None:
    for name, text in TEMPLATES.items():
        prompts = load_settings("trial", [f"prompts.template={name}"]).prompts
        assert prompts.template == text
        assert text.count("{problem}") == 1
        assert "\\boxed{}" in text


BAD = {
    "stages.0.learner.ranks=2": r"stages\.0\.learner\.ranks: no stage sets it; a stage may set beta1, ",
    "stages.0.learner.learning_rate=-1": r"stages\.0\.learner\.learning_rate: .*greater than 0 \(got -1\)",
    "stages.0.sampling.top_p=0.9": r"stages\.0\.sampling\.top_p: no stage sets it; a stage may set temperature",
    "stages.0.sampling.temperature=3": r"stages\.0\.sampling\.temperature: .*less than or equal to 2 \(got 3\)",
    "stages.0.sampling.temperature=0.8": r"stages\.0\.sampling with algorithm\.max_staleness = 1: .*set .* to 0",
}


@pytest.mark.parametrize("override", BAD)
def test_what_a_stage_cannot_set_is_named_with_what_it_can(override: str) -> None:
    with pytest.raises(Exception, match=BAD[override]):
        load_settings("trial", [override])


def test_a_stage_has_what_it_sets_and_the_rest_of_the_run() -> None:
    settings = load_settings(
        "trial", ["stages.1.learner.learning_rate=1e-6", "stages.2.learner.max_tokens_per_micro_batch=512"]
    )
    first, second, third = (settings.in_stage(stage).learner for stage in range(3))
    assert first == settings.learner
    assert second == settings.learner.model_copy(update={"learning_rate": 1e-6})
    assert third == settings.learner.model_copy(update={"max_tokens_per_micro_batch": 512})
