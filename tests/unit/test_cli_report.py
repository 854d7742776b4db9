"""`areal-mesh report`: of a run that ended, of one that goes on, and of what is none."""

import fcntl
import json
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.report import report_on
from tests.unit.run_metrics import rows


@pytest.fixture
def run_in_progress(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "trial"
    folder.mkdir(parents=True)
    (folder / "ledger.db").touch()
    figures = {"tokens_trained": 100, "tokens_generated": 900, "policy_version": 6}
    ends = {"groups_leased": 30, "groups_open": 4, "groups_stale": 1, "groups_filtered": 1, "groups_failed": 0}
    lines = [json.dumps(row | figures | ends) + "\n" for row in rows(6)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def test_a_report_in_the_middle_of_a_run_is_a_table_so_far(
    run_in_progress: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_on(str(run_in_progress))
    output = capsys.readouterr().out
    assert "3 steps of up to - tokens; reward +0.50 → +1.00; length 21.0 → 23.0" in output
    assert "leased 30: trained 24, stale 1, filtered 1, failed 0, open 4" in output
    assert "600" in output
    assert f"{run_in_progress}: the run has not ended; 6 steps so far" in output


def test_a_summary_of_an_earlier_sitting_is_not_taken_for_that_of_the_run(
    run_in_progress: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run_in_progress / "summary.json").write_text('{"run": "trial", "steps": 4, "stages": []}')
    report_on(str(run_in_progress))
    assert "6 steps so far" in capsys.readouterr().out
    (run_in_progress / "summary.json").write_text('{"run": "trial", "steps": 6, "stages": []}')
    report_on(str(run_in_progress))
    assert "so far" not in capsys.readouterr().out


def test_a_report_before_the_first_step_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ledger.db").touch()
    report_on(str(tmp_path))
    assert capsys.readouterr().out == f"{tmp_path}: the run has not ended; 0 steps so far\n"


def test_a_report_leaves_the_events_alone_that_a_running_mesh_writes(
    run_in_progress: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = run_in_progress / "tensorboard" / "events.of.the.run"
    events.parent.mkdir()
    events.touch()
    for lock in (run_in_progress / "controller.lock", run_in_progress.parent / ".trial.lock"):
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            report_on(str(run_in_progress))
        assert events.exists()
        assert "the run goes on" in capsys.readouterr().err


def test_a_report_on_a_preset_that_was_never_run_says_so_and_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(f'extends = "trial"\ndirectory = "{tmp_path / "runs"}"\n')
    with pytest.raises(CommandFailed, match="no run was begun there; give the directory of one"):
        report_on(str(file))
    assert not (tmp_path / "runs").exists()


def test_a_report_on_nothing_says_what_it_takes(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as failure:
        report_on(str(tmp_path / "none"))
    message = str(failure.value)
    assert message.startswith(f"{tmp_path / 'none'}: no such run directory, and no such preset; give the directory of")
    assert "trial" in message
    with pytest.raises(CommandFailed, match="cannot be read: No such file or directory"):
        report_on(str(tmp_path / "none.toml"))


def test_a_report_on_a_folder_that_is_no_runs_leaves_its_events_alone(metrics_file: Path) -> None:
    mine = metrics_file.parent / "tensorboard" / "events.mine"
    mine.parent.mkdir()
    mine.touch()
    with pytest.raises(CommandFailed, match="is no run's directory, so nothing is written there; give that of a run"):
        report_on(str(metrics_file.parent))
    assert sorted(path.name for path in metrics_file.parent.iterdir()) == ["metrics.jsonl", "tensorboard"]
    assert mine.exists()
