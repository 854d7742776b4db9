"""`areal-mesh log` and `areal-mesh runs` over the directory of a run: what they print, and their exit codes."""

import asyncio
import json
from pathlib import Path

import pytest

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.log import dump, show, verify
from areal_mesh.cli.log_replay import replay_log
from areal_mesh.cli.runs import list_runs
from areal_mesh.recipes.arithmetic.tokenizer import build_tokenizer
from areal_mesh.runtime.settings import load_settings
from tests.unit.inspected_log import fill, flip, segments


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The directory of a run that was stopped after three steps."""
    build_tokenizer().save_pretrained(tmp_path / "model")
    folder = tmp_path / "runs" / "mine"
    settings = load_settings(
        "trial-short", [f"directory={tmp_path / 'runs'}", "name=mine", f"model.folder={tmp_path}/model"]
    )
    asyncio.run(fill(folder / "replay")).close()
    (folder / "settings.json").write_text(settings.model_dump_json(), encoding="utf-8")
    rows = [{"step": step, "reward": float(step)} for step in (1, 2, 3)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_show_tells_what_the_log_holds(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(str(run), "", None, as_json=True)
    overview = json.loads(capsys.readouterr().out)
    assert overview["groups"] == {"waiting": 4, "drawn": 6, "stale": 1, "set aside": 1}
    assert overview["whole_steps"] == [1, 2, 3]
    show(str(run), "", None, as_json=False)
    table = capsys.readouterr().out
    assert "groups: 4 waiting, 6 drawn, 1 stale, 1 set aside" in table
    assert "steps: 3 drawn, 0 released; whole are steps 1 to 3" in table


def test_a_group_is_shown_as_text_with_rewards_versions_and_finish_reasons(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show(str(run), "g4", None, as_json=False)
    printed = capsys.readouterr().out
    assert "group g4: drawn in step 3; prompt prompt-1" in printed
    assert "--- response 1: reward 5, correct, 24 tokens, stop, versions 3 [0, 12), 4 [12, 24)" in printed
    assert "no text" not in printed


def test_a_batch_is_shown_in_the_learners_order(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(str(run), "", 3, as_json=False)
    printed = capsys.readouterr().out
    assert printed.index("g4") < printed.index("g7")
    with pytest.raises(CommandFailed, match=r"step 9 has no batch; whole are steps 1 to 3"):
        show(str(run), "", 9, as_json=False)


def test_dump_prints_groups_as_json_lines(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dump(str(run), 2, with_text=True, with_tokens=True) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["group_id"] for line in lines] == ["g2", "g3"]
    first = lines[0]["responses"][0]
    assert first["token_ids"] == list(range(22))
    assert (first["finish_reason"], first["reward"], first["versions"]) == ("stop", 5.0, [[3, 0, 11], [4, 11, 22]])
    assert isinstance(first["text"], str)


def test_damage_is_named_and_the_rest_is_dumped(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(str(run)) == 0
    assert "12 groups" in capsys.readouterr().out
    path = segments(run / "replay")[0]
    flip(path, 12_288 + 100)
    assert verify(str(run)) == 1
    assert f"{path}: byte 12288: a record fails its checksum" in capsys.readouterr().out
    assert dump(str(run), None, with_text=False, with_tokens=False) == 1
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 11
    assert f"{path}: byte 12288" in printed.err


def test_what_cannot_be_replayed_is_refused_before_torch_is_loaded(run: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match=r"ledger\.db: cannot be read"):
        replay_log(str(run), None, None, "", "")
    (tmp_path / "there").mkdir()
    with pytest.raises(CommandFailed, match="is there already"):
        replay_log(str(run), None, None, "", str(tmp_path / "there"))


def test_runs_are_found_by_what_they_leave(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run.parent / "no run").mkdir()
    list_runs(str(run.parent), as_json=True)
    [found] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (found["name"], found["state"], found["steps"], found["reward"]) == ("mine", "stopped", 3, 2.0)
    assert found["bytes"] > 0
    list_runs(str(run.parent), as_json=False)
    assert "mine" in capsys.readouterr().out
    with pytest.raises(CommandFailed, match="holds no run"):
        list_runs(str(run), as_json=False)
