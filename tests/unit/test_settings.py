"""Settings: every preset resolves, and every fault names its key, the value and what would do."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from areal_mesh.runtime.settings import SettingsError, load_settings, preset_names
from areal_mesh.runtime.settings.files import presets_folder
from areal_mesh.runtime.settings.weights import GlooSettings


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
    assert (settings.generator.device, settings.weights.transport.type) == ("cuda", "nccl")


FAULTS = {
    "unknown key": ("learner.learning_rat=1e-4", "learner.learning_rat: unknown key; did you mean learning_rate?"),
    "unknown section": ("trainer.steps=3", "trainer: unknown key; known here: name,"),
    "unknown key in a list": ("stages.1.limit=5", "stages.1.limit: unknown key; known here: name, max_response_tokens"),
    "wrong type": ("algorithm.batch_groups=many", "algorithm.batch_groups: Input should be a valid integer"),
    "value that was given": ("algorithm.batch_groups=many", "(got 'many')"),
    "out of range": ("algorithm.top_p=1.5", "algorithm.top_p: Input should be less than or equal to 1 (got 1.5)"),
    "no such choice": ("learner.device=tpu", "learner.device: Input should be 'cpu' or 'cuda' (got 'tpu')"),
    "no place for the problem": (
        "prompts.template=abc",
        'prompts.template: has no place for the problem; write {problem} where it belongs, or "chat" for',
    ),
    "port out of range": ("controller.listen=127.0.0.1:70000", "controller.listen: the port is over 65535"),
    "stage that is not there": ("stages.9.max_steps=1", "9 is not a position from 0 to 2"),
    "nucleus": ("algorithm.top_p=0.9", "algorithm.top_p: the learner's probabilities are of the whole vocabulary"),
    "no value": ("algorithm.top_p", "expected section.key=value"),
    "stale rollouts without their objective": ("algorithm.loss.type=ppo", "stale rollouts need one of decoupled_ppo"),
    "a kind that is not there": (
        "algorithm.loss.type=a2c",
        "algorithm.loss.type: there is no 'a2c'; choose 'ppo', 'dec",
    ),
    "unknown key of a kind": (
        "algorithm.loss.mask_lo=1",
        "algorithm.loss.mask_lo: unknown key; did you mean mask_low?",
    ),
    "out of a kind's range": (
        "algorithm.loss.mask_low=2",
        "algorithm.loss.mask_low: Input should be less than or equal to 1 (got 2)",
    ),
    "another kind's key": ("algorithm.advantage={type='grpo',kl_coefficient=0.1}", "advantage.kl_coefficient: unknown"),
    "a group of one by leave-one-out": (
        "algorithm={responses=1,advantage={type='rloo'}}",
        'advantage.type = "rloo" with responses = 1: it compares the responses of a group; set responses to at least 2',
    ),
    "KL in the rewards and in the loss": (
        "algorithm={advantage={kl_coefficient=0.001},kl_loss={coefficient=0.01}}",
        "advantage.kl_coefficient = 0.001: the distance to the reference would count in the rewards and",
    ),
    "an estimator that is not there": ("algorithm.kl_loss.estimator=k4", "'k1', 'k2' or 'k3' (got 'k4')"),
    "a mean that is not there": ("algorithm.average=groups", "'tokens', 'responses' or 'limit' (got 'groups')"),
    "a group of one": ("algorithm={responses=1,advantage={type='grpo'}}", "set responses to at least 2"),
    "pacing over the bound": ("weights.sync_every=4", "set weights.sync_every to at most 2"),
    "a broadcast between GPUs on CPUs": ("weights.transport.type=nccl", 'on CPU use "gloo"'),
    "plain text beyond loopback": ("replay.listen=10.0.0.1:0", "set plaintext_beyond_loopback = true"),
    "a boolean as a number": (
        "learner.learning_rate=true",
        "learner.learning_rate: Input should be a valid number (got T",
    ),
    "a boolean as a count": (
        "stages.0.max_steps=true",
        "stages.0.max_steps: Input should be a valid integer (got True)",
    ),
    "a boolean in a list": ("generator.cores=[true]", "generator.cores.0: Input should be a valid integer (got True)"),
    "a number as a switch": ("generator.enforce_eager=1", "generator.enforce_eager: Input should be a valid boolean"),
    "text as a number": ("seed='3'", "seed: Input should be a valid integer (got '3')"),
    "no number": ("algorithm.reward_scale=nan", "algorithm.reward_scale: Input should be a finite number (got nan)"),
    "endless": ("algorithm.reward_bias=inf", "algorithm.reward_bias: Input should be a finite number (got inf)"),
    "too large for a float": (
        "algorithm.advantage.kl_coefficient=1e400",
        "algorithm.advantage.kl_coefficient: Input should be a",
    ),
    "endless seconds": ("replay.drain_seconds=inf", "replay.drain_seconds: Input should be a finite number (got inf)"),
    "no number in an option": ("verifier.reward_terms.x.y=nan", "Input should be a finite number (got nan)"),
    "no path": ("prompts.file=", "prompts.file: expected a path (got '')"),
    "home of nobody": (
        "directory=~nobody-of-that-name/runs",
        "could not determine home directory; write the folder out",
    ),
    "a digit that is none": ("stages.².max_steps=1", "² is not a position from 0 to 2"),
    "a second key in a value": ("seed=1\nname='lost'", "seed: Input should be a valid integer"),
    "replicas of an engine on a CPU": (
        "generator.data_parallel_size=2",
        'generator: data_parallel_size = 2 with device = "cpu": an engine has replicas on GPUs alone; set it to 1',
    ),
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


def test_text_stays_the_text_that_was_given() -> None:
    given = ["name=2024", "stages.0.name=1e5", "prompts.file=007", "prompts.instruction=5 # true", "directory='a b'"]
    settings = load_settings("trial", given)
    assert (settings.name, settings.stages[0].name) == ("2024", "1e5")
    assert (settings.prompts.file, settings.prompts.instruction) == (Path("007"), "5 # true")
    assert settings.directory == Path("a b")


@pytest.mark.parametrize("none", ["", "none"])
def test_a_setting_that_may_be_left_out_is_set_back_to_none(none: str, tmp_path: Path) -> None:
    names = ("model.recipe", "generator.cores", "learner.threads", "weights.transport.interface")
    settings = load_settings("trial", ["learner.threads=2", *(f"{name}={none}" for name in names)])
    left_out = (
        settings.model.recipe,
        settings.generator.cores,
        settings.learner.threads,
        settings.weights.transport,
    )
    assert left_out == (None, None, None, GlooSettings(interface=None))
    (tmp_path / "a.toml").write_text(f'extends = "trial"\n[generator]\ncores = "{none}"\n')
    assert load_settings(tmp_path / "a.toml").generator.cores is None
    assert load_settings("trial", ["prompts.instruction=none"]).prompts.instruction == "none", "it is text"


def test_a_home_directory_is_found_in_every_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AREAL_MESH_PRESETS", str(presets_folder().resolve()))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "base.toml").write_text('extends = "trial"\nname = "base"\n')
    (tmp_path / "mine.toml").write_text('extends = "~/base.toml"\n[model]\nfolder = "~/model"\n')
    settings = load_settings("~/mine.toml", ["prompts.file=~/prompts.jsonl", "directory=~/runs"])
    assert (settings.model.folder, settings.prompts.file) == (tmp_path / "model", tmp_path / "prompts.jsonl")
    assert settings.run_directory == tmp_path / "runs" / "base"


def test_a_preset_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(SettingsError, match=r"no such preset; there are: .*trial"):
        load_settings("trail")


UNUSABLE = {
    "a syntax error in TOML": ("a.toml", b"name = ", "is not TOML"),
    "a syntax error in JSON": ("a.json", b'{"name": ', "is not JSON"),
    "JSON nested without end": ("a.json", b"[" * 100_000, "is not JSON"),
    "no file": ("a.toml", None, "cannot be read: No such file or directory"),
    "TOML in another encoding": ("a.toml", b'seed = 1\nname = "\xe9"', "is not UTF-8: byte 0xe9 in line 2; save it as"),
    "JSON in another encoding": ("a.json", '{"name": "a"}'.encode("utf-16"), "is not UTF-8: byte 0xff in line 1"),
    "JSON that is no object": ("a.json", b"[1]", "holds a list; settings are a JSON object"),
    "extends a number": ("a.toml", b"extends = 3", r"extends: expected the name of a preset or .*\(got 3\)"),
    "a key that stands twice in JSON": (
        "a.json",
        b'{"seed": 1, "name": "a", "seed": 2}',
        "seed stands twice in one obj",
    ),
    "extends nothing": ("a.json", b'{"extends": null}', r"extends: expected the name of a preset or .*\(got None\)"),
}


@pytest.mark.parametrize(("name", "content", "message"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_file_that_cannot_be_used_says_why_in_a_line(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(SettingsError, match=message) as error:
        load_settings(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: ")
    assert "\n" not in str(error.value)


def test_an_override_inside_a_value_of_a_list_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"generator\.cores\.0 is a value, not a section"):
        load_settings("trial", ["generator.cores.0.first=1"])


def test_a_file_gives_only_what_differs_from_the_preset_or_file_it_extends(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "base.toml").write_text('extends = "trial"\nname = "base"\n[learner]\nlearning_rate = 0.5\n')
    mine = {"extends": "../base.toml", "name": "mine", "verifier": {"workers": 3}}
    (tmp_path / "runs" / "mine.json").write_text(json.dumps(mine))
    trial, settings = load_settings("trial"), load_settings(tmp_path / "runs" / "mine.json")
    assert (settings.name, settings.learner.learning_rate, settings.verifier.workers) == ("mine", 0.5, 3)
    assert (settings.stages, settings.generator) == (trial.stages, trial.generator)


def test_a_path_that_is_extended_is_one_from_the_file_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for place in (folder, elsewhere):
        place.mkdir()
        (place / "base.toml").write_text(f'extends = "trial"\nname = "{place.name}"\n')
    (folder / "mine.toml").write_text('extends = "base.toml"\n')
    preset = load_settings("trial")
    monkeypatch.setenv("AREAL_MESH_PRESETS", str(presets_folder().resolve()))
    monkeypatch.chdir(elsewhere)
    assert load_settings("../here/mine.toml") == preset.model_copy(update={"name": "here"})


MISLEADING = {
    "no such file": ('"base.toml"', None, 'extends = "base.toml": {base}: cannot be read: No such file or directory; '),
    "a file that does not parse": ('"base.toml"', "name = ", 'extends = "base.toml": {base}: is not TOML: '),
    "no such preset": ('"trail"', None, 'extends = "trail": no such preset; there are: '),
}


@pytest.mark.parametrize(("extended", "content", "message"), MISLEADING.values(), ids=MISLEADING.keys())
def test_a_fault_in_what_is_extended_names_who_extends_it(
    tmp_path: Path, extended: str, content: str | None, message: str
) -> None:
    base, mine = tmp_path / "base.toml", tmp_path / "mine.toml"
    mine.write_text(f"extends = {extended}")
    if content is not None:
        base.write_text(content)
    with pytest.raises(SettingsError) as error:
        load_settings(mine)
    assert str(error.value).startswith(f"{mine}: {message.format(base=base)}")


@pytest.mark.parametrize("names", [["a"], ["a", "b"], ["a", "b", "c"]])
def test_files_that_extend_each_other_are_named_in_their_order(tmp_path: Path, names: list[str]) -> None:
    ring = [*names, names[0]]
    for name, extended in pairwise(ring):
        (tmp_path / f"{name}.toml").write_text(f'extends = "{extended}.toml"\n')
    with pytest.raises(SettingsError) as error:
        load_settings(tmp_path / "a.toml")
    way = " → ".join(str(tmp_path / f"{name}.toml") for name in ring)
    assert str(error.value) == f"{tmp_path / 'a.toml'}: extends goes round: {way}; take it out of one of them"
