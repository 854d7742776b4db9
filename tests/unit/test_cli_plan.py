"""`areal-mesh plan` and `config check --nodes`: what they print, and what they refuse."""

import json
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.cli.main import main

PUBLISHED: dict[str, dict[int, tuple[float, float | None]]] = {
    "distill-1.5b-16node": {1: (520, 14_000), 4: (150, 54_000), 16: (50, 155_000)},
    "distill-7b-16node": {4: (680, None), 16: (200, None)},
}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.parametrize("preset", PUBLISHED)
def test_a_plan_of_a_published_preset_has_the_published_hours(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = ",".join(map(str, PUBLISHED[preset]))
    code, printed, _ = run(capsys, "plan", preset, "--nodes", nodes, "--hardware", "h800", "--json")
    assert code == 0
    rows: list[dict[str, Any]] = json.loads(printed)
    assert [row["nodes"] for row in rows] == list(PUBLISHED[preset])
    for row in rows:
        hours, rate = PUBLISHED[preset][row["nodes"]]
        assert row["hours"] == pytest.approx(hours, rel=0.25)
        assert rate is None or row["tokens_per_second"] == pytest.approx(rate, rel=0.25)
        assert row["bottleneck"] in ("generation", "training", "staleness")
        best = row["best"]
        assert best["generation_gpus"] + best["training_gpus"] == 8 * row["nodes"]


def test_an_asynchronous_plan_takes_less_than_the_synchronous_one(capsys: pytest.CaptureFixture[str]) -> None:
    hours = []
    for preset in ("distill-1.5b-4node", "distill-1.5b-4node-async"):
        _, printed, _ = run(capsys, "plan", preset, "--nodes", "4", "--json")
        hours.append(json.loads(printed)[0]["hours"])
    assert hours[1] < hours[0]


def test_a_plan_says_what_it_rests_on(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = run(capsys, "plan", "distill-1.5b-4node-async", "--nodes", "1,4", "--split", "5/3")
    assert code == 0
    for said in ("10 epochs of 40,315 prompts", "stage 16K", "constants: those of areal-async", "--split", "5/3 TP1"):
        assert said in printed


def test_a_figure_is_drawn_and_made_anew_but_never_over_anothers_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("plan", "distill-1.5b-16node", "--nodes", "1,4,16", "--figure", "2", "--to")
    for name in ("hours.png", "hours.svg"):
        picture = tmp_path / name
        for _ in range(2):
            assert run(capsys, *words, str(picture))[0] == 0
        assert picture.stat().st_size > 5_000
    mine = tmp_path / "mine.png"
    mine.write_bytes(b"my picture")
    code, _, said = run(capsys, *words, str(mine))
    assert (code, mine.read_bytes()) == (1, b"my picture")
    assert "was not made by this command" in said


REFUSED = {
    "--hardware abacus": "choose h800, ",
    "--stage 9K": "choose 8K, 16K, 24K",
    "--nodes 1 --gpus 1 --set generator.tensor_parallel_size=2": "1 GPUs are less than an engine's 2",
    "--mean-length 20000": "not between 0 and the limit of 16384",
    "--calibrate nowhere": "no step has its response_length",
    "--set model.folder=models/unknown": "its shape is not known by its name",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_planned_says_what_would_do(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, said = run(capsys, "plan", "distill-1.5b-16node", *words.split())
    assert code in (1, 2)
    assert REFUSED[words] in said


def test_config_check_says_whether_a_run_fits(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("config", "check", "distill-1.5b-16node", "--nodes", "16", "--gpus", "8", "--memory")
    code, printed, _ = run(capsys, *words, "80")
    assert code == 0
    assert "full responses" in printed
    assert "distill-1.5b-16node: holds" in printed
    code, printed, _ = run(capsys, *words, "10")
    assert code == 78
    assert "stage 24K: a rank of the learner needs" in printed
    code, printed, _ = run(capsys, "config", "check", "distill-7b-16node", "--nodes", "4")
    assert code == 78
    assert "64 GPUs to generate" in printed
    code, printed, _ = run(capsys, "config", "check", "trial", "--nodes", "1")
    assert (code, "runs on CPUs" in printed) == (0, True)


def test_a_plan_takes_the_constants_of_a_run_that_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"stage": 0, "response_length": 3000.0, "update_seconds": 900.0, "generated_tokens_per_second": 40_000.0}
    metrics = tmp_path / "metrics.jsonl"
    metrics.write_text("".join(json.dumps({"step": step, **row}) + "\n" for step in (1, 2, 3)), encoding="utf-8")
    words = ("plan", "distill-1.5b-1node-async", "--stage", "8K", "--split", "6/2", "--json", "--nodes", "1")
    _, printed, _ = run(capsys, *words, "--calibrate", str(tmp_path))
    [measured] = json.loads(printed)
    assert measured["training_seconds"] == pytest.approx(900, rel=0.01)
    assert measured["tokens_per_step"] == pytest.approx(8192 * 3100, rel=0.01)
    tokens = 8192 * 3000
    assert measured["generation_seconds"] == pytest.approx(tokens / 40_000, rel=0.02)
    code, printed, _ = run(capsys, *words[:-3], "--nodes", "1", "--calibrate", str(tmp_path))
    assert (code, f"constants: measured in {tmp_path}" in printed) == (0, True)
