"""The run directory: one run for ever, one launcher at a time, and nothing deleted that is not a run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.run_directory import SETTINGS_FILE, differing_keys, enter, finished_summary, held
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
    other = settings_in(tmp_path, "learner.learning_rate=1e-5", "stages.0.max_steps=2")
    with pytest.raises(CommandFailed) as refusal, entered(other, fresh=False):
        pass
    assert f"learner.learning_rate: there {there.learner.learning_rate}, here 1e-05" in str(refusal.value)
    assert f"stages.0.max_steps: there {there.stages[0].max_steps}, here 2" in str(refusal.value)
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


def test_keys_that_differ_are_named_by_their_path() -> None:
    before = {"a": 1, "b": {"c": [1, {"d": 2}]}, "gone": 1}
    now = {"a": 1, "b": {"c": [1, {"d": 3}]}, "new": None}
    assert differing_keys(before, now) == ["b.c.1.d: there 2, here 3", "gone: there 1, here null"]
    assert differing_keys({"stages": [1]}, {"stages": [1, 2]}) == ["stages: there [1], here [1, 2]"]
