"""`areal-mesh eval` without a model: which checkpoints and suites, where it works, what it goes on with."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from areal_mesh.cli import evaluate as command
from areal_mesh.cli.evaluate import EvaluateOptions, evaluate
from areal_mesh.cli.evaluation_folder import entered
from areal_mesh.cli.evaluation_progress import rate_text
from areal_mesh.cli.examined import examined, folder_digest
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.evaluation.responses import encode, read_responses
from areal_mesh.generator.standalone import fitted, read_plan


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "policy"
    folder.mkdir()
    (folder / "config.json").write_text('{"dtype": "float32", "max_position_embeddings": 512}')
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    rows = [{"id": f"p-{n}", "problem": f"{n}+1?", "answer": str(n + 1)} for n in range(6)]
    path = tmp_path / "sums.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Engine:
    """Stands for the engine's process: answers `most` requests of a plan, rightly for even problems, then ends."""

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.asked: list[str] = []

    def events(self, plan: Path, log: Path) -> Iterator[dict[str, Any]]:
        requests = read_plan(plan).requests
        yield {"event": "ready", "max_prompt_tokens": 9, "max_response_tokens": 32}
        for request in requests[: self.most]:
            self.asked.append(request.identifier)
            number = int(request.problem.partition("+")[0])
            answer = number + 1 if number % 2 == 0 else -1
            text = f"so \\boxed{{{answer}}}"
            yield {"event": "response", "id": request.identifier, "text": text, "tokens": 7, "finish_reason": "stop"}
        if self.most < len(requests):
            raise CommandFailed("the engine failed")


def options(model: Path, suite: Path, output: Path, *overrides: str, compare: str = "") -> EvaluateOptions:
    chosen = ["evaluation.samples=2", *overrides]
    return EvaluateOptions([str(model)], str(suite), "", str(output), compare, chosen)


def test_the_results_are_those_of_an_independent_computation(
    model: Path, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Engine()
    monkeypatch.setattr(command, "events", engine.events)
    evaluate(options(model, suite, tmp_path / "out", compare="release-note"))
    assert len(engine.asked) == 12
    [row] = json.loads((tmp_path / "out" / "results.json").read_text())["results"]
    assert (row["checkpoint"], row["suite"], row["problems"], row["samples"]) == ("policy", "sums", 6, 2)
    assert row["pass_at_1"] == row["majority"] == row["pass_at_k"]["2"] == 0.5
    assert row["response_length"] == 7
    told = capsys.readouterr()
    assert "| policy | sums | 6 | 2 | 50.0 (" in told.out
    assert "| AReaL stage 3: 24K | - | AReaL v0.1 release note, table 1 |" in told.out
    assert "policy: 12 of 12 responses" in told.err
    assert (tmp_path / "out" / "results.svg").is_file()


def test_what_was_generated_before_a_failure_is_not_generated_again(
    model: Path, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, first, second = tmp_path / "out", Engine(most=5), Engine()
    monkeypatch.setattr(command, "events", first.events)
    with pytest.raises(CommandFailed, match="the engine failed"):
        evaluate(options(model, suite, out))
    with (out / "responses.jsonl").open("ab") as file:  # as a killed process may leave it
        file.write(encode(next(read_responses(out / "responses.jsonl")))[:30])
    monkeypatch.setattr(command, "events", second.events)
    evaluate(options(model, suite, out))
    assert len(first.asked) == 5
    assert sorted(first.asked + second.asked) == sorted({*first.asked, *second.asked})
    assert len(list(read_responses(out / "responses.jsonl"))) == 12
    third = Engine()
    monkeypatch.setattr(command, "events", third.events)
    evaluate(options(model, suite, out))
    assert not third.asked


@pytest.mark.parametrize("change", ["evaluation.temperature=0.1", "evaluation.limit=3", "model.dtype=bfloat16"])
def test_another_evaluation_does_not_enter_the_folder(
    model: Path, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    monkeypatch.setattr(command, "events", Engine().events)
    evaluate(options(model, suite, tmp_path / "out"))
    with pytest.raises(CommandFailed, match="holds another evaluation"):
        evaluate(options(model, suite, tmp_path / "out", change))


def test_other_weights_are_another_evaluation(
    model: Path, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "events", Engine().events)
    before = folder_digest(model)
    evaluate(options(model, suite, tmp_path / "out"))
    (model / "model.safetensors").write_bytes(b"others!")
    assert folder_digest(model) != before
    with pytest.raises(CommandFailed, match=r"checkpoints\.policy\.digest"):
        evaluate(options(model, suite, tmp_path / "out"))


def test_a_foreign_folder_and_one_at_work_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").touch()
    with pytest.raises(CommandFailed, match="it is no evaluation's"), entered(tmp_path / "thesis", {}):
        pass
    with (
        entered(tmp_path / "out", {"a": 1}),
        pytest.raises(CommandFailed, match="works on this evaluation"),
        entered(tmp_path / "out", {"a": 1}),
    ):
        pass


@pytest.mark.parametrize(
    ("word", "says"), [("nowhere", "no such run directory"), ("runs/none@3", "no such run directory")]
)
def test_a_checkpoint_that_is_none_is_refused(word: str, says: str) -> None:
    with pytest.raises(CommandFailed, match=says):
        examined([word], "", [])


def test_a_folder_that_is_neither_model_nor_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"holds no config\.json, so it is no model folder"):
        examined([str(tmp_path)], "", [])


def test_settings_that_are_not_there_are_refused_by_their_own_name(model: Path) -> None:
    with pytest.raises(CommandFailed, match=r"^policy: smollm2: no such preset; there are: "):
        examined([str(model)], "smollm2", [])


def test_two_checkpoints_of_one_name_are_refused(model: Path) -> None:
    with pytest.raises(CommandFailed, match="two checkpoints are called policy"):
        examined([str(model), str(model)], "", [])


def test_a_model_folder_is_examined_as_the_release_note_did(model: Path) -> None:
    [one] = examined([str(model)], "", ["evaluation.samples=4"])
    assert one.settings.evaluation_temperature == 0.6
    assert (one.settings.evaluation.top_p, one.settings.evaluation_response) == (0.95, 32768)
    assert one.settings.model.dtype == "float32"


@pytest.mark.parametrize(("stored", "computed"), [("float16", "float16"), ("bfloat16", "bfloat16"), (None, "bfloat16")])
def test_a_model_folder_is_examined_in_its_own_half_precision(model: Path, stored: str | None, computed: str) -> None:
    file = model / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"dtype": stored}))
    [one] = examined([str(model)], "", [])
    assert one.settings.model.dtype == computed


@pytest.mark.parametrize(
    ("longest", "wanted", "positions", "fits"),
    [
        (100, 50, None, (100, 50)),
        (100, 50, 150, (100, 50)),
        (1000, 120, 512, (392, 120)),
        (700, 32768, 8192, (700, 7492)),
    ],
)
def test_prompts_and_responses_fit_the_models_positions(
    longest: int, wanted: int, positions: int | None, fits: tuple[int, int]
) -> None:
    assert fitted(longest, wanted, positions) == fits


def test_a_rate_is_told_once_there_are_two_counts() -> None:
    assert rate_text(None, 5, 1.0) == ""
    assert rate_text((5, 1.0), 105, 3.0) == ", 50 tokens/s"
