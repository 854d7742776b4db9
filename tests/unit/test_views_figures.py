"""The figures of the release note, and the table of stages, from rows alone."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from areal_mesh.views.accuracy import _places, plot_accuracy
from areal_mesh.views.drawing import drawn_here
from areal_mesh.views.figures import averaged, averaged_starts, plot_training
from areal_mesh.views.stages import stage_head, stage_rows, suites_of
from tests.unit.run_metrics import rows


def evaluation(version: int, suite: str, share: float, **more: Any) -> dict[str, Any]:
    figures = {"pass_at_1": share, "low": share - 0.1, "high": share + 0.1, "response_length": 10.0 * version}
    return {"policy_version": version, "suite": suite, **figures, **more}


def test_several_runs_are_averaged_step_by_step_over_those_that_have_it() -> None:
    long, short = rows(8), [{**row, "reward": 10.0} for row in rows(2)]
    steps, values = averaged({"a": long, "b": short}, "reward")
    assert steps == [1, 2, 4, 5, 6, 7, 8], "no run has the third"
    assert values[:3] == [(0.5 + 10) / 2, (1.0 + 10) / 2, 2.0]
    assert averaged_starts({"a": rows(8), "b": rows(6)}) == [(4.5, "16")]


def test_a_figure_is_png_and_svg_and_known_as_drawn_here(tmp_path: Path) -> None:
    paths = [tmp_path / "plots" / name for name in ("figure-1.png", "figure-1.svg")]
    plot_training({"a": rows(40), "b": rows(30)}, paths, stages=True)
    assert paths[0].read_bytes().startswith(b"\x89PNG")
    svg = paths[1].read_bytes()
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert all(map(drawn_here, paths))
    plot_training({"a": rows(40), "b": rows(30)}, paths, stages=True)
    assert paths[1].read_bytes() == svg
    foreign = tmp_path / "holiday.png"
    foreign.write_bytes(b"\x89PNG and more")
    assert not drawn_here(foreign)


def test_stages_are_marked_in_figure_1_alone(tmp_path: Path) -> None:
    texts = []
    for marked in (True, False):
        plot_training({"a": rows(40)}, [tmp_path / "figure.svg"], stages=marked)
        texts.append((tmp_path / "figure.svg").read_text().count("<!--  16 -->"))
    assert texts == [2, 0]


def test_accuracy_stands_at_its_version_and_models_without_one_stand_in_a_row(tmp_path: Path) -> None:
    mine = [evaluation(version, suite, version / 50) for version in (0, 20, 10) for suite in ("aime24", "math500")]
    assert _places(mine) == ({"0": 0, "20": 20, "10": 10}, False)
    named = [evaluation(0, "aime24", 0.2, checkpoint="a@0"), evaluation(0, "aime24", 0.3, checkpoint="b@0")]
    assert _places(named) == ({"a@0": 0, "b@0": 1}, True)
    for case in (mine, named):
        plot_accuracy(case, [tmp_path / "accuracy.png"])
        assert (tmp_path / "accuracy.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_has_the_start_model_and_each_stage_with_its_last_evaluation() -> None:
    evaluations = [evaluation(0, "math500", 0.3), evaluation(2, "math500", 0.4), evaluation(3, "math500", 0.45)]
    evaluations += [evaluation(6, "aime24", 0.1)]
    suites = suites_of(evaluations)
    assert stage_head(suites)[-2:] == ["math500", "aime24"]
    table = stage_rows("trial", rows(6), evaluations, suites)
    assert [(line[1], line[2], *line[-2:]) for line in table] == [
        ("start", "0", "30.0", "-"),
        ("8", "3", "45.0", "-"),
        ("16", "3", "-", "10.0"),
    ]
    assert table[1][4:6] == ["+0.50 to +1.00", "21 to 23"]
    assert {len(line) for line in table} == {len(stage_head(suites))}


def test_a_run_that_was_not_evaluated_has_its_stages_alone() -> None:
    assert [line[1] for line in stage_rows("trial", rows(6), [], [])] == ["8", "16"]


@pytest.mark.parametrize("figure", [1, 3])
def test_the_command_draws_into_the_runs_folder_and_leaves_foreign_files(
    tmp_path: Path, figure: int, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from areal_mesh.cli.failures import CommandFailed
    from areal_mesh.cli.plot import plot

    run = tmp_path / "trial"
    run.mkdir()
    (run / "ledger.db").touch()
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(6)))
    plot([str(run)], figure, "")
    assert (run / "plots" / f"figure-{figure}.svg").is_file()
    assert "| trial | 8 | 3 |" in capsys.readouterr().out
    with pytest.raises(CommandFailed, match="nothing was evaluated"):
        plot([str(run)], 4, "")
    (run / "evaluations.jsonl").write_text(json.dumps(evaluation(0, "math500", 0.5)) + "\n")
    plot([str(run)], 4, "")
    elsewhere = tmp_path / "mine"
    elsewhere.mkdir()
    (elsewhere / f"figure-{figure}.png").write_bytes(b"mine")
    with pytest.raises(CommandFailed, match="was not drawn here"):
        plot([str(run)], figure, str(elsewhere))
    assert (elsewhere / f"figure-{figure}.png").read_bytes() == b"mine"
