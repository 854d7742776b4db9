"""The run directory: one run for ever, one launcher at a time, and nothing deleted that is not a run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.found_runs import finished_summary
from areal_mesh.cli.going_on import meant_by
from areal_mesh.cli.run_directory import enter, held
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, load_settings


def settings_in(folder: Path, *overrides: str) -> RunSettings:
    return load_settings("trial", [f"directory={folder}", *overrides])


@contextmanager
def entered(settings: RunSettings, fresh: bool) -> Iterator[Path]:
    with held(settings) as folder:
        enter(folder, settings, fresh)
        yield folder


def test_a_new_run_keeps_its_resolved_settings(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    with entered(settings, fresh=False) as folder:
        assert folder == tmp_path / "trial"
        assert load_settings(folder / SETTINGS_FILE) == settings


def test_the_same_settings_go_on_with_the_same_run(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        (folder / "ledger.db").touch()
    with entered(settings_in(tmp_path), fresh=False) as folder:
        assert (folder / "ledger.db").exists()


def test_other_settings_are_refused_with_the_keys_that_differ(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path), fresh=False):
        pass
    there = load_settings("trial")
    other = settings_in(tmp_path, "learner.epsilon=1e-3", "algorithm.batch_groups=2")
    with pytest.raises(CommandFailed) as refusal, entered(other, fresh=False):
        pass
    assert f"learner.epsilon: there {there.learner.epsilon}, here 0.001" in str(refusal.value)
    assert f"algorithm.batch_groups: there {there.algorithm.batch_groups}, here 2" in str(refusal.value)
    assert "areal-mesh up --from" in str(refusal.value)
    assert str(refusal.value).count(": there ") == 2


def test_a_run_older_than_a_key_goes_on_with_its_default(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        kept = json.loads((folder / SETTINGS_FILE).read_text())
        del kept["learner"]["gradient_clip"]
        (folder / SETTINGS_FILE).write_text(json.dumps(kept))
    with entered(settings_in(tmp_path), fresh=False):
        pass


def test_fresh_begins_anew_with_other_settings(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        (folder / "ledger.db").touch()
    with entered(settings_in(tmp_path, "seed=9"), fresh=True) as folder:
        assert not (folder / "ledger.db").exists()
        assert json.loads((folder / SETTINGS_FILE).read_text())["seed"] == 9


@pytest.mark.parametrize("fresh", [True, False])
def test_a_directory_that_is_no_run_is_left_alone(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / "thesis.tex").touch()
    with pytest.raises(CommandFailed, match="no run's"), entered(settings_in(tmp_path), fresh=fresh):
        pass
    assert (tmp_path / "trial" / "thesis.tex").exists()


def test_fresh_leaves_settings_of_another_program_alone(tmp_path: Path) -> None:
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial" / SETTINGS_FILE).write_text('{"editor.fontSize": 12}')
    with pytest.raises(CommandFailed, match="so it is no run's, and --fresh leaves it"):
        enter(tmp_path / "trial", settings_in(tmp_path), fresh=True)
    assert (tmp_path / "trial" / SETTINGS_FILE).read_text() == '{"editor.fontSize": 12}'


@pytest.mark.parametrize("key", ["model.folder", "prompts.file"])
def test_fresh_does_not_delete_what_the_new_run_is_to_begin_with(tmp_path: Path, key: str) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        mine = folder / "checkpoints" / "mine"
        mine.mkdir(parents=True)
    with pytest.raises(CommandFailed, match=rf"{key} = .*: lies in the run directory, which --fresh deletes; copy it"):
        enter(folder, settings_in(tmp_path, f"{key}={mine}"), fresh=True)
    assert mine.is_dir()


@pytest.mark.parametrize("fresh", [True, False])
def test_a_second_launcher_is_refused_while_the_first_runs(tmp_path: Path, fresh: bool) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        with (
            pytest.raises(CommandFailed, match="another launcher runs it"),
            entered(settings_in(tmp_path), fresh=fresh),
        ):
            pass
        assert (folder / SETTINGS_FILE).exists()


def test_a_run_is_finished_when_its_summary_says_so(tmp_path: Path) -> None:
    assert finished_summary(tmp_path) is None
    (tmp_path / "summary.json").write_text('{"finished": false}')
    assert finished_summary(tmp_path) is None
    (tmp_path / "summary.json").write_text('{"finished": true, "steps": 3}')
    assert finished_summary(tmp_path) == {"finished": True, "steps": 3}


def step_rows(folder: Path, steps: int, stage: int) -> None:
    rows = [json.dumps({"step": step, "stage": stage}) for step in range(1, steps + 1)]
    (folder / "metrics.jsonl").write_text("\n".join(rows) + "\n")


def checkpoint(folder: Path, version: int) -> None:
    path = folder / "checkpoints" / f"version-{version:08d}"
    path.mkdir(parents=True)
    (path / "manifest.json").write_text("{}")


def test_a_run_goes_on_with_another_learning_rate_and_more_steps_from_a_checkpoint(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        step_rows(folder, 12, stage=1)
        checkpoint(folder, 10)
    other = settings_in(tmp_path, "learner.learning_rate=1e-5", "stages.2.max_steps=70")
    with pytest.raises(CommandFailed, match="the newest checkpoint is of step 10 and 12 are committed"):
        enter(folder, other, fresh=False)
    assert load_settings(folder / SETTINGS_FILE) == settings_in(tmp_path), "nothing was changed"
    checkpoint(folder, 12)
    changes = enter(folder, other, fresh=False)
    assert [change.key for change in changes] == ["stages.2.max_steps", "learner.learning_rate"]
    assert load_settings(folder / SETTINGS_FILE) == other
    with pytest.raises(CommandFailed, match=r"stages\.0\.max_steps: there 10, here 9 \(that stage is over\)"):
        enter(folder, settings_in(tmp_path, "stages.0.max_steps=9"), fresh=False)


def test_what_a_command_only_leaves_out_is_no_change(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path, "learner.learning_rate=1e-5"), fresh=False) as folder:
        pass
    with pytest.raises(CommandFailed, match="say so with --set, if it is meant"):
        enter(folder, settings_in(tmp_path), fresh=False, meant=meant_by("trial", []))
    meant = meant_by("trial", ["learner.learning_rate=2e-5"])
    assert enter(folder, settings_in(tmp_path, "learner.learning_rate=2e-5"), fresh=False, meant=meant)
    # Who names a file of settings wrote all of it.
    assert enter(folder, settings_in(tmp_path), fresh=False, meant=meant_by("mine.toml", []))


def test_a_finished_run_goes_on_where_it_is_given_more_steps_and_keeps_its_summary(tmp_path: Path) -> None:
    with entered(settings_in(tmp_path), fresh=False) as folder:
        step_rows(folder, 90, stage=2)
        checkpoint(folder, 90)
        (folder / "summary.json").write_text('{"finished": true, "steps": 90}')
    with pytest.raises(CommandFailed, match="the run is finished; give it more steps"):
        enter(folder, settings_in(tmp_path, "learner.learning_rate=1e-5"), fresh=False)
    assert enter(folder, settings_in(tmp_path, "stages.2.max_steps=61"), fresh=False)
    assert not (folder / "summary.json").exists()
    assert json.loads((folder / "summary-90.json").read_text())["finished"]
