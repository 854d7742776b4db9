"""What a command prints arrives, whatever the encoding of its output; what cannot be written is said in a line."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

# The last has neither UTF-8 nor the interpreter's own way round a bare locale.
ENVIRONMENTS = (
    {"PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "C"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
)
SUMMARY = {
    "finished": True,
    "run": "Läufe 中",
    "steps": 6,
    "stages": [{"name": "8", "steps": 6, "reward": {"first": -1.5, "last": 2.25}}],
}


def run(environment: Mapping[str, str], *arguments: str | Path, stdout: int = subprocess.PIPE) -> tuple[int, str, str]:
    """Exit code, output and errors of the command, read as ASCII with `?` for all beyond it."""
    done = subprocess.run(
        [sys.executable, "-m", "areal_mesh.cli", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "160", **environment},
        timeout=60,
        check=False,
    )
    output, errors = (part.decode("ascii", "replace") for part in (done.stdout or b"", done.stderr))
    return done.returncode, output, errors


@pytest.fixture
def finished_run(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    folder.mkdir()
    (folder / "ledger.db").touch()
    (folder / "summary.json").write_text(json.dumps(SUMMARY, ensure_ascii=False), encoding="utf-8")
    return folder


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_a_table_comes_out_in_ascii_where_there_is_nothing_else(
    finished_run: Path, environment: dict[str, str]
) -> None:
    code, output, errors = run(environment, "report", finished_run)
    assert code == 0, errors
    if len(environment) > 1 or "PYTHONIOENCODING" in environment:
        assert "reward -1.50 -> +2.25" in output
        assert "\\u4e2d" in output


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_settings_printed_in_any_encoding_are_a_settings_file(tmp_path: Path, environment: dict[str, str]) -> None:
    source = tmp_path / "mine.toml"
    source.write_text('extends = "trial"\n[prompts]\ntemplate = "¿{problem}? 中😀"\n', encoding="utf-8")
    printed = tmp_path / "printed.json"
    with printed.open("wb") as file:
        code, _, errors = run(environment, "config", "show", source, stdout=file.fileno())
    assert code == 0, errors
    code, _, errors = run({}, "config", "check", printed)
    assert code == 0, errors
    assert json.loads(printed.read_bytes())["prompts"]["template"] == "¿{problem}? 中😀"


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_verdicts_are_shown_and_written_in_any_encoding(tmp_path: Path, environment: dict[str, str]) -> None:
    answers, verdicts = tmp_path / "answers.jsonl", tmp_path / "verdicts.jsonl"
    line = {"response": r"\boxed{1}", "answer": "1", "id": "seven", "source": "quelle → 中"}
    answers.write_text(json.dumps(line, ensure_ascii=False) + "\n", encoding="utf-8")
    code, output, errors = run(environment, "verify", answers, "--output", verdicts)
    assert code == 0, errors
    assert "quelle" in output
    assert json.loads(verdicts.read_bytes())["status"] == "correct"
    code, output, errors = run(environment, "verify", answers, "--explain", "seven")
    assert code == 0, errors


@pytest.mark.parametrize("environment", [{}, *ENVIRONMENTS])
def test_a_name_that_is_no_text_is_shown_in_the_error(environment: dict[str, str]) -> None:
    code, _, errors = run(environment, "report", os.fsdecode(b"no\xff\xe9such"))
    assert code == 1
    assert "Traceback" not in errors
    assert errors.startswith("areal-mesh: no")
    assert "such: no such run directory" in errors


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", [("config", "show", "trial"), ("report",), ("verify",)])
def test_output_that_goes_to_a_full_disk_is_said_in_one_line(
    finished_run: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    answers = tmp_path / "answers.jsonl"
    answers.write_text(json.dumps({"response": r"\boxed{1}", "answer": "1"}) + "\n")
    argument = {"report": [finished_run], "verify": [answers]}.get(command[0], [])
    with Path("/dev/full").open("wb") as full:
        code, _, errors = run({}, *command, *argument, stdout=full.fileno())
    assert code == 1
    assert "Traceback" not in errors
    assert errors.splitlines()[-1].startswith(
        "areal-mesh: the output of this command: No space left on device; free some space"
    )
