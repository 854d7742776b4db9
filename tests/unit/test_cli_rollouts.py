"""`areal-mesh rollouts`: lists, explains, and says what is not there."""

import json
from pathlib import Path

import pytest

from areal_mesh.cli.main import main
from areal_mesh.runtime.settings import RunSettings
from tests.unit.rollout_logs import Answer, begin_run, group_of, open_log, store, train_on


@pytest.fixture
async def settings(tmp_path: Path) -> RunSettings:
    settings = begin_run(tmp_path)
    buffer = open_log(settings)
    answers = [
        Answer("Two doubled: \\boxed{2}", True, extracted="2", terms=(("correctness", 5.0), ("brevity", -0.5))),
        Answer("No idea\x1b[2J" + "." * 1000 + "end", rule="no answer", truncated=True),
    ]
    for number in (1, 2):
        await store(buffer, group_of(settings, number, f"Double {number}", [str(2 * number)], answers, f"s{number}"))
        await train_on(buffer, number, 1)
    buffer.close()
    return settings


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["rollouts", *arguments])
    captured = capsys.readouterr()
    assert isinstance(ended.value.code, int)
    return ended.value.code, captured.out, captured.err


async def test_rollouts_are_listed_with_what_was_asked_and_how_they_were_judged(
    settings: RunSettings, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output, errors = command(capsys, str(settings.run_directory), "--wrong", "--step", "2")
    assert (code, errors) == (0, "")
    head, problem, reference, answer, response, *rest = output.splitlines()
    assert head == (
        "--- g00000002.1  incorrect by `no answer`  reward -5  1,014 tokens (cut off)  version 2 to 3  step 2  stage 8"
        "  source s2"
    )
    assert (problem, reference, answer) == ("problem    Double 2", "reference  4", "answer     -")
    assert response.startswith("response   No idea?[2J....")
    assert rest[0] == "[... 214 characters ...]"
    assert rest[1].endswith("..end")
    assert rest[-1] == f"{settings.run_directory}: 1 of 1 rollouts shown"


async def test_every_filter_and_the_order_count(settings: RunSettings, capsys: pytest.CaptureFixture[str]) -> None:
    def ids(*arguments: str) -> list[str]:
        _, output, _ = command(capsys, str(settings.run_directory), "--json", *arguments)
        return [json.loads(line)["rollout_id"][-3:] for line in output.splitlines()]

    assert ids() == ["2.1", "2.0", "1.1", "1.0"]
    assert ids("--order", "longest", "--count", "2") == ["1.1", "2.1"]
    assert ids("--source", "s1") == ["1.1", "1.0"]
    assert ids("--rule", "rational") == ["2.0", "1.0"]
    assert ids("--grep", "DOUBLE 2") == ["2.1", "2.0"]
    assert ids("--grep", "doubled:", "--step", "1") == ["1.0"]


async def test_one_is_shown_in_full_and_explained(settings: RunSettings, capsys: pytest.CaptureFixture[str]) -> None:
    code, output, _ = command(capsys, str(settings.run_directory), "--explain", "g00000001.0")
    assert code == 0
    assert "reward +5 (correctness +5, brevity -0.5)" in output
    assert "versions   1: 0 to 11, 2: 11 to 23 (tokens)" in output
    assert output.splitlines()[-1] == "verdict: correct, by the rule `text`"
    _, output, _ = command(capsys, str(settings.run_directory), "--explain", "g00000001.0", "--json")
    shown = json.loads(output)
    assert "".join(shown["tokens"]) == "Two doubled: \\boxed{2}<|end|>"
    assert shown["why"][-1].startswith("verdict: correct")


async def test_what_is_not_there_is_said(
    settings: RunSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, _, errors = command(capsys, str(settings.run_directory), "--explain", "g00000009.0")
    assert code == 1
    assert "holds no rollout g00000009.0; ids are those that `areal-mesh rollouts` prints" in errors
    monkeypatch.chdir(tmp_path)
    code, output, _ = command(capsys)
    assert code == 0
    assert output.endswith("runs/looked-at: 4 of 4 rollouts shown\n"), "the newest run in runs/"
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    code, _, errors = command(capsys)
    assert (code, "no run is in" in errors) == (1, True)
