"""Two runs beside each other, and in one picture."""

import json
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.main import main


def run_in(folder: Path, rate: float, gain: float, steps: int = 20) -> Path:
    folder.mkdir()
    settings = {"name": folder.name, "stages": [], "model": {}, "prompts": {}, "learner": {"learning_rate": rate}}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    rows = [
        {"step": step, "reward": gain * step, "response_length": 50.0, "correct": 0.5, "committed_at": 100.0 + 3 * step}
        for step in range(1, steps + 1)
    ]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return folder


def report(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, words)])
    assert ended.value.code == 0


def test_figures_and_differing_settings_stand_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report(run_in(tmp_path / "slow", 1e-5, 0.1), run_in(tmp_path / "fast", 1e-4, 0.2))
    rows = {
        line.split("│")[1].strip(): line.split("│")[2:4] for line in capsys.readouterr().out.splitlines() if "│" in line
    }
    assert [cell.strip() for cell in rows["reward, last 5 steps"]] == ["+1.800", "+3.600"]
    assert [cell.strip() for cell in rows["best reward, 5 steps"]] == ["+1.800 at step 20", "+3.600 at step 20"]
    assert [cell.strip() for cell in rows["first to last step"]] == ["57 s", "57 s"]
    assert [cell.strip() for cell in rows["learner.learning_rate"]] == ["1e-05", "0.0001"]
    assert "name" not in rows


def test_two_runs_are_drawn_in_one_picture_and_no_file_is_written_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = run_in(tmp_path / "a", 1e-5, 0.1), run_in(tmp_path / "b", 1e-4, 0.2, steps=7)
    picture = tmp_path / "both.png"
    report(first, second, "--picture", picture)
    drawn = picture.read_bytes()
    assert drawn.startswith(b"\x89PNG")
    assert len(drawn) > 10_000
    with pytest.raises(SystemExit) as ended:
        main(["report", str(first), str(second), "--picture", str(picture)])
    assert ended.value.code == 1
    assert "file exists; name a new file" in capsys.readouterr().err
    assert picture.read_bytes() == drawn


def test_what_is_no_run_or_has_no_step_is_named(tmp_path: Path) -> None:
    from areal_mesh.cli.comparing import compare_runs

    run = run_in(tmp_path / "a", 1e-5, 0.1)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CommandFailed, match="is no run's directory"):
        compare_runs([str(run), str(tmp_path / "nothing")], "")
    empty = run_in(tmp_path / "b", 1e-5, 0.1)
    (empty / "metrics.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(CommandFailed, match="b: has no step yet"):
        compare_runs([str(run), str(empty)], "")
