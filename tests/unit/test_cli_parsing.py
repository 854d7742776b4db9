"""The command says what was meant, completes itself in a shell, and finds the run that goes on."""

import json
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from areal_mesh.cli.completion import completion_script
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.main import build_parser, main
from areal_mesh.cli.options import DEFAULT_CONTROLLER
from areal_mesh.cli.running_runs import find_controller
from areal_mesh.runtime.locks import FileLock


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["statsu"], "status"),
        (["config", "chek"], "check"),
        (["up", "trial", "--frsh"], "--fresh"),
        (["stage", "nxt"], "next"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion(given: list[str], meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(given)
    assert ended.value.code == 2
    assert capsys.readouterr().err.rstrip().endswith(f"; did you mean {meant}?")


def test_a_word_like_none_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["xyzzy"])
    assert "did you mean" not in capsys.readouterr().err


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"areal-mesh {version('areal-mesh')}\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash on this machine")
@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("areal-mesh con", ["config"]),
        ("areal-mesh config ch", ["check"]),
        ("areal-mesh up trial-s", ["trial-short"]),
        ("areal-mesh up trial --fre", ["--fresh"]),
        ("areal-mesh serve gen", ["generator"]),
    ],
)
def test_bash_completes_commands_options_and_presets(line: str, completed: list[str], tmp_path: Path) -> None:
    script = completion_script(build_parser(), "bash")
    asked = f"{script}\nCOMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _areal_mesh\n"
    done = subprocess.run(
        ["bash", "-c", f'{asked}printf "%s\\n" "${{COMPREPLY[@]}}"'],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
        cwd=tmp_path,
    )
    assert done.stdout.split() == completed


def run_in(runs: Path, name: str, port: int) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    settings = {"controller": {"listen": f"127.0.0.1:{port}"}}
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "controller.lock").touch()
    return folder / "controller.lock"


def test_the_controller_of_the_one_run_that_goes_on_is_found(tmp_path: Path) -> None:
    assert find_controller(tmp_path) == DEFAULT_CONTROLLER
    first, second = run_in(tmp_path, "first", 7411), run_in(tmp_path, "second", 7412)
    assert find_controller(tmp_path) == DEFAULT_CONTROLLER, "neither goes on"
    held = FileLock(second)
    assert find_controller(tmp_path) == "127.0.0.1:7412"
    other = FileLock(first)
    with pytest.raises(
        CommandFailed, match=r"2 runs go on here; say which.*\n  --controller 127\.0\.0\.1:7411   first"
    ):
        find_controller(tmp_path)
    held.release()
    assert find_controller(tmp_path) == "127.0.0.1:7411"
    other.release()
