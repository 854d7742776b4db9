"""`deploy/commit_subject.py`: which messages it lets pass, as a hook and over the commits of a branch."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "commit_subject.py"
FITS = "Ü" * 72


def check(*arguments: str | Path, folder: Path | None = None) -> tuple[int, str]:
    """Exit code and errors of the script."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/none")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    "message",
    [
        "A topic\n",
        f"{FITS}\n\nWhy, in lines as long as {'they ' * 30}are.\n",
        f"\n# a comment of git, {'long ' * 30}\nA topic\n# more\n",
        f"A topic\n# ------------------------ >8 ------------------------\n+ a change {'x' * 90}\n",
    ],
)
def test_a_short_subject_with_an_empty_line_after_it_passes(message: str, tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_text(message, encoding="utf-8")
    assert check(file) == (0, "")


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (f"{FITS}x\n", "73 characters in the subject, 72 at most"),
        ("A topic\nmore of it\n", "the second line is not empty"),
        ("\n# only a comment\n", "no subject"),
    ],
)
def test_any_other_is_refused_with_what_would_do(message: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "message"
    file.write_text(message, encoding="utf-8")
    code, errors = check(file)
    assert code == 1
    assert fault in errors


def test_of_a_branch_the_new_commits_alone_are_checked(tmp_path: Path) -> None:
    git(tmp_path, "init", "--initial-branch=main")
    git(tmp_path, "commit", "--allow-empty", "-m", "old " * 30)
    git(tmp_path, "switch", "-c", "branch")
    git(tmp_path, "commit", "--allow-empty", "-m", "A topic", "-m", "#1 stands in the body")
    assert check("--since", "main", folder=tmp_path) == (0, "")
    git(tmp_path, "commit", "--allow-empty", "-m", "new " * 30)
    git(tmp_path, "commit", "--allow-empty", "-m", "Another topic")
    code, errors = check("--since", "main", folder=tmp_path)
    assert code == 1
    assert [line.split(": ")[1] for line in errors.splitlines()] == [
        "119 characters in the subject, 72 at most; shorten it"
    ]
