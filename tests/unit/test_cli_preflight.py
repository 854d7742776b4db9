"""What a service refuses to start with, and what it says then."""

import json
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import gaps, gpu_present
from areal_mesh.cli.launcher import launch
from areal_mesh.cli.main import build_parser
from areal_mesh.cli.preflight import check_role
from areal_mesh.cli.preparing import prepare, prepare_run, recipe_command
from areal_mesh.cli.processes import controller_address, service_processes
from areal_mesh.cli.serving import context_of
from areal_mesh.recipes.arithmetic.problems import write_prompts
from areal_mesh.recipes.table import recipe_targets
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.made import mark_folder
from areal_mesh.runtime.settings import load_settings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_port_that_is_taken_is_named_with_its_key(taken_port: int) -> None:
    settings = load_settings("trial", [f"replay.listen=127.0.0.1:{taken_port}"])
    with pytest.raises(StartupError, match=rf"^replay\.listen = 127\.0\.0\.1:{taken_port}: address already in use; "):
        check_role(settings, "replay", "trial")


def test_a_host_that_is_not_here_is_named() -> None:
    settings = load_settings("trial", ["replay.listen=203.0.113.1:7401", "plaintext_beyond_loopback=true"])
    with pytest.raises(StartupError, match=r"replay\.listen = 203\.0\.113\.1:7401: cannot assign requested address"):
        check_role(settings, "replay", "trial")


def test_a_model_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = load_settings("trial", [f"model.folder={tmp_path / 'none'}"])
    for role in ("generator", "learner"):
        with pytest.raises(StartupError, match=r"none: no such folder; run `areal-mesh prepare trial`, or "):
            check_role(settings, role, "trial")
    settings = load_settings("trial", [f"model.folder={tmp_path}"])
    with pytest.raises(StartupError, match=r"holds no config\.json"):
        check_role(settings, "learner", "trial")


def test_a_prompt_file_that_is_missing_is_named(tmp_path: Path) -> None:
    settings = load_settings("trial", [f"prompts.file={tmp_path / 'none.jsonl'}", "controller.listen=127.0.0.1:0"])
    with pytest.raises(StartupError, match=r"prompts\.file = .*none\.jsonl: no such file"):
        check_role(settings, "controller", "trial")


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU: a missing one cannot be shown")
def test_a_missing_gpu_is_said_before_anything_heavy_is_imported() -> None:
    settings = load_settings("distill-1.5b-1node")
    with pytest.raises(StartupError, match=r'learner\.device = "cuda": this machine shows no GPU; use device = "cpu"'):
        check_role(settings, "learner", "trial")
    text = "\n".join(gaps(settings))
    assert 'generator.device = "cuda": unrun here' in text
    assert "model.folder = models/DeepSeek-R1-Distill-Qwen-1.5B: not there yet" in text


def test_the_command_that_makes_what_is_missing_is_named_with_its_settings(tmp_path: Path) -> None:
    overrides = [f"model.folder={tmp_path / 'none'}", "learner.threads=1"]
    with pytest.raises(StartupError) as error:
        context_of("learner", "trial", overrides, "learner-0", "")
    command = f"areal-mesh prepare trial --set model.folder={tmp_path / 'none'} --set learner.threads=1"
    assert f"; run `{command}`, or name" in str(error.value)
    options = build_parser().parse_args(command.split()[1:])
    assert (options.source, options.overrides) == ("trial", overrides)


def test_settings_that_do_not_hold_end_a_service_on_one_line() -> None:
    with pytest.raises(StartupError) as error:
        context_of("replay", "trial", ["replay.nope=1", "seed=-1"], "replay-0", "")
    assert "replay.nope: unknown key" in str(error.value)
    assert "seed: " in str(error.value)
    assert "\n" not in str(error.value)


def test_the_five_services_start_controller_first_and_drain_it_last(tmp_path: Path) -> None:
    members = service_processes(load_settings("trial"), tmp_path, "one")
    assert [member.service_id for member in members] == [
        "controller",
        "replay-0",
        "verifier-0",
        "generator-0",
        "learner-0",
    ]
    phases = {member.service_id: member.drain_phase for member in members}
    assert phases["generator-0"] == phases["learner-0"] < phases["replay-0"] < phases["controller"]


def test_each_service_is_started_by_a_command_that_parses(tmp_path: Path) -> None:
    for member in service_processes(load_settings("trial"), tmp_path, "one"):
        options = build_parser().parse_args(member.argv[3:])
        assert options.service_id == member.service_id
        assert member.service_id.startswith(options.role)
        assert options.config == str(tmp_path / "settings.json")
        assert options.controller == "127.0.0.1:7400"
        assert options.run_id == "one"


def test_the_launcher_needs_a_port_that_others_find() -> None:
    anywhere = ["plaintext_beyond_loopback=true", "controller.listen=0.0.0.0:7500"]
    assert controller_address(load_settings("trial", anywhere)) == "127.0.0.1:7500"
    with pytest.raises(CommandFailed, match="needs a fixed port"):
        controller_address(load_settings("trial", ["controller.listen=127.0.0.1:0"]))


def test_a_recipe_is_the_command_that_makes_model_and_prompts() -> None:
    command = recipe_command(load_settings("trial", ["model.recipe.problems=50", "model.recipe.seed=3"]))
    assert command[2:] == [
        *("areal_mesh.recipes.arithmetic", "--model-folder", ".cache/models/arithmetic"),
        *("--prompts", ".cache/prompts/arithmetic.jsonl", "--problems", "50", "--seed", "3"),
    ]
    assert recipe_command(load_settings("smollm2-135m-cpu"))[2] == "areal_mesh.recipes.smollm2"
    assert recipe_command(load_settings("distill-1.5b-1node")) == []


def test_a_run_is_prepared_once_and_again_when_what_was_made_is_gone(tmp_path: Path) -> None:
    (tmp_path / "config.json").touch()
    (tmp_path / "prompts.jsonl").touch()
    settings = load_settings(
        "trial", ["model.recipe=", f"model.folder={tmp_path}", f"prompts.file={tmp_path / 'prompts.jsonl'}"]
    )
    record = tmp_path / "setup.json"
    assert prepare_run(settings, record)
    assert json.loads(record.read_text())["seconds"] >= 0
    assert not prepare_run(settings, record)
    (tmp_path / "config.json").unlink()
    assert prepare_run(settings, record)


def test_a_recipe_that_fails_ends_the_command(tmp_path: Path) -> None:
    (tmp_path / "kept.txt").touch()
    settings = load_settings("smollm2-135m-cpu", [f"model.folder={tmp_path}"])
    with pytest.raises(CommandFailed, match=r"model\.recipe = smollm2: making .* failed \(exit code 78\)") as failure:
        prepare_run(settings, tmp_path / "setup.json")
    assert failure.value.exit_code == EXIT_CANNOT_START
    assert not (tmp_path / "setup.json").exists()


def up_fresh(source: str, overrides: Sequence[str]) -> None:
    launch(source, overrides, fresh=True)


@pytest.mark.parametrize("command", [prepare, up_fresh])
def test_what_a_user_put_there_is_refused_by_name_and_left_alone(
    command: Callable[[str, Sequence[str]], None], tmp_path: Path
) -> None:
    key, mine = "model.folder", tmp_path / "mine"
    file = mine / "config.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text('{"id": "1", "problem": "1+1", "answer": "2"}\n')
    places = {
        "model.folder": tmp_path / "model",
        "prompts.file": tmp_path / "made.jsonl",
        "directory": tmp_path / "runs",
    }
    overrides = [f"{name}={path}" for name, path in (places | {key: mine}).items()]
    with pytest.raises(CommandFailed) as failure:
        command("trial-short", overrides)
    assert failure.value.exit_code == EXIT_CANNOT_START
    assert str(failure.value).startswith(f"trial-short: {key} = {mine}: no recipe made it, so it is left as it is; ")
    assert file.read_text() == '{"id": "1", "problem": "1+1", "answer": "2"}\n'
    assert [entry.name for entry in tmp_path.iterdir()] == [mine.name], "nothing else is made either"


def test_prompts_that_a_user_brings_are_used_as_they_are_and_no_recipe_makes_others(tmp_path: Path) -> None:
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"question": "1+1", "answer": "2"}\n', encoding="utf-8")
    settings = load_settings("trial", [f"prompts.file={mine}", f"model.folder={tmp_path / 'model'}"])
    assert list(recipe_targets(settings)) == ["model.folder"]
    assert str(mine) not in recipe_command(settings)
    made = tmp_path / "made.jsonl"
    write_prompts(made, 3, seed=1)
    settings = load_settings("trial", [f"prompts.file={made}", f"model.folder={tmp_path / 'model'}"])
    assert list(recipe_targets(settings)) == ["model.folder", "prompts.file"]
    assert str(made) in recipe_command(settings)


def test_a_run_is_prepared_again_when_another_had_its_files_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    mark_folder(folder, {"recipe": "smollm2", "format": 1})
    (tmp_path / "prompts.jsonl").touch()
    places = [f"model.folder={folder}", f"prompts.file={tmp_path / 'prompts.jsonl'}"]
    settings = load_settings("smollm2-135m-cpu", [*places, "model.recipe.problems=0"])
    record = tmp_path / "setup.json"
    assert prepare_run(settings, record)
    assert not prepare_run(settings, record)
    mark_folder(folder, {"recipe": "smollm2", "format": 2})
    monkeypatch.setattr("areal_mesh.cli.preparing.prepare_data", lambda _: None)
    assert prepare_run(settings, record)


def test_a_preset_without_a_recipe_says_what_to_put_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, file = tmp_path / "model", tmp_path / "prompts.jsonl"
    overrides = [f"model.folder={folder}", f"prompts.file={file}"]
    with pytest.raises(CommandFailed) as failure:
        prepare("distill-1.5b-1node", overrides)
    assert capsys.readouterr().out.startswith("distill-1.5b-1node: has no recipe, so nothing is made")
    model_line, prompts_line = str(failure.value).splitlines()
    assert model_line.startswith(
        f"distill-1.5b-1node: model.folder = {folder}: not there yet; put a Hugging Face folder"
    )
    assert prompts_line.startswith(f"distill-1.5b-1node: prompts.file = {file}: not there yet; put a JSONL file there")
    folder.mkdir()
    (folder / "config.json").touch()
    file.touch()
    prepare("distill-1.5b-1node", overrides)
    assert f"model and prompts are there, {folder} and {file}" in capsys.readouterr().out
