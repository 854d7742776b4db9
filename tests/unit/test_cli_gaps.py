"""What settings ask of a machine that is not there."""

import os
from pathlib import Path

import pytest

from areal_mesh.cli.config import check
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.gaps import faults, gaps, gpu_present, remarks
from areal_mesh.cli.launcher import launch
from areal_mesh.cli.run_directory import enter, held
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, load_settings

PLACES = ["directory", "model.folder", "prompts.file"]


@pytest.fixture
def whole(tmp_path: Path) -> list[str]:
    """Overrides of the trial under which nothing is missing, and no recipe makes anything."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "prompts.jsonl").touch()
    return [
        "model.recipe=",
        f"directory={tmp_path / 'runs'}",
        f"model.folder={tmp_path / 'model'}",
        f"prompts.file={tmp_path / 'prompts.jsonl'}",
    ]


def trial(*overrides: str) -> RunSettings:
    return load_settings("trial", overrides)


def test_nothing_is_said_where_all_is_there_and_nothing_is_left_behind(whole: list[str], tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert list(gaps(trial(*whole))) == []
    assert sorted(tmp_path.iterdir()) == before


def test_what_a_recipe_makes_is_not_missing(tmp_path: Path) -> None:
    nowhere = [f"{key}={tmp_path / 'none'}" for key in PLACES]
    assert list(gaps(trial(*nowhere))) == []
    assert [gap.split(" = ")[0] for gap in gaps(trial(*nowhere, "model.recipe=smollm2"))] == ["prompts.file"]
    assert [gap.split(" = ")[0] for gap in gaps(trial(*nowhere, "model.recipe="))] == ["model.folder", "prompts.file"]


@pytest.mark.parametrize("recipe", ["arithmetic", ""])
def test_a_folder_in_the_place_of_a_file_is_named_and_a_file_in_that_of_a_folder(recipe: str, tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    swapped = trial(
        f"model.recipe={recipe}", f"directory={file}", f"model.folder={file}", f"prompts.file={tmp_path}", "name=mine"
    )
    assert list(gaps(swapped)) == [
        f"model.folder = {file}: is no folder; name one with --set model.folder=...",
        f"prompts.file = {tmp_path}: is no file; name one with --set prompts.file=...",
        f"directory = {file}: {file} cannot be written in: not a directory; name another with --set directory=...",
    ]


def test_a_folder_that_is_no_model_is_named(whole: list[str], tmp_path: Path) -> None:
    (tmp_path / "model" / "config.json").unlink()
    (gap,) = gaps(trial(*whole))
    assert gap.startswith(f"model.folder = {tmp_path / 'model'}: holds no config.json; ")


def test_an_end_token_that_the_model_does_not_have_is_named(whole: list[str], tmp_path: Path) -> None:
    (tmp_path / "model" / "config.json").write_text('{"vocab_size": 48, "eos_token_id": 48}')
    (gap,) = faults(trial(*whole))
    assert gap.startswith(
        f"{tmp_path / 'model' / 'config.json'}: the end token 48 is outside the model's vocabulary of"
    )


@pytest.mark.parametrize("directory", ["/proc/x", "/proc/x/y"])
def test_a_directory_that_cannot_be_made_is_named(whole: list[str], directory: str) -> None:
    (gap,) = gaps(trial(*whole, f"directory={directory}"))
    assert gap.startswith(f"directory = {directory}: /proc cannot be written in: ")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission_is_named(whole: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir(mode=0o500)
    (gap,) = gaps(trial(*whole))
    assert gap.startswith(f"directory = {tmp_path / 'runs'}: {tmp_path / 'runs'} cannot be written in: permission")


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU: a missing one cannot be shown")
def test_a_missing_gpu_is_a_gap_and_several_ranks_are_a_remark(whole: list[str]) -> None:
    gpus = ["generator", "learner"]
    settings = trial(*whole, *(f"{role}.device=cuda" for role in gpus), "weights.transport.type=nccl")
    assert [gap.split(": unrun")[0] for gap in gaps(settings)] == [f'{role}.device = "cuda"' for role in gpus]
    settings = trial(*whole, "learner.ranks=2")
    assert list(gaps(settings)) == []
    assert list(remarks(settings)) == ["learner.ranks = 2: FSDP2 over 2 processes; unrun here"]


def test_checking_settings_tells_what_is_missing(whole: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    check(["trial"], [*whole, "directory=/proc/x"])
    holds, *_, gap = capsys.readouterr().out.splitlines()
    assert holds.startswith("trial: holds; run trial, ")
    assert gap.startswith("trial: directory = /proc/x: ")


def test_a_run_that_lacks_something_says_all_of_it_and_makes_nothing(tmp_path: Path) -> None:
    overrides = [f"{key}={tmp_path / key}" for key in PLACES]
    with pytest.raises(CommandFailed) as failure:
        launch("trial", [*overrides, "model.recipe="], fresh=False)
    assert failure.value.exit_code == EXIT_CANNOT_START
    model_line, prompts_line = str(failure.value).splitlines()
    assert model_line.startswith(f"trial: model.folder = {tmp_path / 'model.folder'}: not there yet; ")
    assert prompts_line.startswith(f"trial: prompts.file = {tmp_path / 'prompts.file'}: not there yet; ")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_not_deleted_for_one_that_lacks_something(whole: list[str], tmp_path: Path) -> None:
    with held(trial(*whole)) as folder:
        enter(folder, trial(*whole), fresh=False)
    (tmp_path / "prompts.jsonl").unlink()
    with pytest.raises(CommandFailed, match=r"prompts\.file = "):
        launch("trial", whole, fresh=True)
    assert (folder / SETTINGS_FILE).is_file()


def test_a_further_file_of_problems_and_a_tracker_that_are_not_there_are_named(
    whole: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    found = list(gaps(trial(*whole, f'prompts.also=[{{file="{tmp_path / "more.jsonl"}"}}]', 'sinks=["wandb"]')))
    assert found == [
        f"prompts.also.0.file = {tmp_path / 'more.jsonl'}: no such file; name one that is there, or take it out",
        'sinks: "wandb" needs wandb, which is not installed; install it, or take the sink out',
    ]


def test_a_suite_that_is_not_there_is_missed_before_a_run_that_is_to_be_evaluated(
    whole: list[str], tmp_path: Path
) -> None:
    asked = [*whole, 'evaluation.suites=["sums"]', f"evaluation.data={tmp_path}"]
    assert list(gaps(trial(*asked))) == []
    [gap] = gaps(trial(*asked, "evaluation.every=5"))
    assert gap.startswith(f"evaluation.suites: suite sums: no file {tmp_path / 'sums.jsonl'}")
    (tmp_path / "sums.jsonl").touch()
    assert list(gaps(trial(*asked, "evaluation.every=5"))) == []
