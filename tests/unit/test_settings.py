"""Settings: every preset resolves, and every fault names its key, the value and what would do."""

import json
from pathlib import Path

import pytest

from areal_mesh.runtime.settings import SettingsError, load_settings, preset_names


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_resolves_and_survives_a_round_through_json(name: str, tmp_path: Path) -> None:
    settings = load_settings(name)
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(settings.model_dump(mode="json")))
    assert load_settings(file) == settings


def test_the_presets_of_the_release_are_there() -> None:
    assert {"trial", "distill-1.5b-1node", "smollm2-135m-cpu"} <= set(preset_names())


def test_the_trial_steps_through_three_stages_in_the_proportion_of_the_recipe() -> None:
    limits = [stage.max_response_tokens for stage in load_settings("trial").stages]
    assert [limit * 8 // limits[0] for limit in limits] == [8, 16, 24]
    assert load_settings("trial").algorithm.max_staleness == 1


def test_the_one_node_recipe_is_that_of_the_release() -> None:
    settings = load_settings("distill-1.5b-1node")
    assert [stage.max_response_tokens for stage in settings.stages] == [8192, 16384, 24000]
    assert (settings.algorithm.batch_groups, settings.algorithm.responses) == (1024, 8)
    assert (settings.generator.device, settings.learner.transport) == ("cuda", "nccl")


FAULTS = {
    "unknown key": ("learner.learning_rat=1e-4", "learner.learning_rat: unknown key; did you mean learning_rate?"),
    "unknown section": ("trainer.steps=3", "trainer: unknown key; known here: name,"),
    "unknown key in a list": ("stages.1.limit=5", "stages.1.limit: unknown key; known here: name, max_response_tokens"),
    "wrong type": ("algorithm.batch_groups=many", "algorithm.batch_groups: Input should be a valid integer"),
    "value that was given": ("algorithm.batch_groups=many", "(got 'many')"),
    "out of range": ("algorithm.top_p=1.5", "algorithm.top_p: Input should be less than or equal to 1 (got 1.5)"),
    "no such choice": ("learner.transport=udp", "learner.transport: Input should be 'gloo' or 'nccl' (got 'udp')"),
    "port out of range": ("controller.listen=127.0.0.1:70000", "controller.listen: the port is over 65535"),
    "stage that is not there": ("stages.9.max_steps=1", "9 is not a position from 0 to 2"),
    "no value": ("algorithm.top_p", "expected section.key=value"),
    "stale rollouts without their objective": ("algorithm.objective=ppo", 'need objective = "decoupled_ppo"'),
    "pacing over the bound": ("algorithm.sync_every=4", "set sync_every to at most 2"),
    "ends that differ": ("generator.transport=nccl", "both ends of a broadcast use the same"),
    "plain text beyond loopback": ("replay.listen=10.0.0.1:0", "set plaintext_beyond_loopback = true"),
    "fewer steps at most than at least": ("stages.0.min_steps=99", "min_steps = 99 is more than max_steps"),
}


@pytest.mark.parametrize(("override", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_names_the_key_and_what_would_do(override: str, message: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings("trial", [override])
    assert message in str(error.value)
    assert str(error.value).startswith("trial: ")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as error:
        load_settings("trial", ["algorithm.top_p=2", "learner.nope=1"])
    assert len(error.value.faults) == 2


def test_overrides_are_toml_where_they_parse_and_text_elsewhere() -> None:
    settings = load_settings("trial", ["name=other", "generator.cores=[3]", "stages.0.max_steps=2", "seed=7"])
    assert (settings.name, settings.generator.cores, settings.stages[0].max_steps, settings.seed) == (
        "other",
        [3],
        2,
        7,
    )


def test_a_preset_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"no such preset; there are: .*trial"):
        load_settings("trail")


@pytest.mark.parametrize(
    ("name", "content", "message"), [("a.toml", "name = ", "is not TOML"), ("b.toml", None, "cannot be read")]
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, name: str, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(SettingsError, match=message):
        load_settings(tmp_path / name)
