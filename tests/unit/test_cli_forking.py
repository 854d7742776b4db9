"""A run that begins with another's weights: which run, which checkpoint, and under which settings."""

import json
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.forking import forked
from areal_mesh.cli.main import build_parser, main
from areal_mesh.runtime.settings import load_settings


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with an export of version 40 and no checkpoint."""
    settings = load_settings("trial", ["name=first", "learner.learning_rate=1e-6"])
    folder = tmp_path / "first"
    export = folder / "checkpoints" / "export-00000040"
    export.mkdir(parents=True)
    (export / "config.json").write_text("{}", encoding="utf-8")
    (folder / "settings.json").write_text(json.dumps(settings.model_dump(mode="json")), encoding="utf-8")
    return folder


def test_a_fork_has_the_others_settings_and_weights_and_what_the_command_says(run: Path) -> None:
    source, overrides = forked(f"{run}:40", "", ["algorithm=grpo"])
    settings = load_settings(source, overrides)
    assert settings.name == "first-from-40"
    assert settings.model.folder == run / "checkpoints" / "export-00000040"
    assert settings.model.recipe is None
    assert settings.algorithm.advantage.type == "grpo"
    assert settings.learner.learning_rate == 1e-6


def test_a_preset_and_a_name_that_are_given_come_first(run: Path) -> None:
    source, overrides = forked(f"{run}:40", "trial", ["name=mine"])
    settings = load_settings(source, overrides)
    assert (settings.name, settings.model.folder.name) == ("mine", "export-00000040")
    assert settings.learner.learning_rate == load_settings("trial").learner.learning_rate


def test_what_is_no_run_or_has_no_such_checkpoint_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"--from .*: no whole checkpoint is there"):
        forked(f"{run}:41", "", [])
    with pytest.raises(CommandFailed, match=r"no such run directory"):
        forked(str(tmp_path / "none"), "", [])


def test_the_command_needs_settings_or_a_run_to_begin_from(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_parser().parse_args(["up", "--from", "runs/trial:40"]).begun_from == "runs/trial:40"
    with pytest.raises(SystemExit) as ended:
        main(["up"])
    assert ended.value.code == 1
    assert "name a preset or a file of settings, or a run to begin from with --from" in capsys.readouterr().err
