"""Suites of problems: files that the user gives, or named ones found in a folder; the project ships none."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.runtime.problem_files import ProblemFile, ProblemFileError
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.problems import Problem

SUFFIX = ".jsonl"
_SUFFIXES = (SUFFIX, ".json", ".gz", ".bz2", ".xz")
"""What a word ends with that is a file's path and no name."""


class SuiteError(ValueError):
    """A suite that cannot be used: says which file, which line, and what would do."""


@dataclass(frozen=True)
class Suite:
    """Problems under one name."""

    name: str
    problems: tuple[Problem, ...]
    digest: str
    """SHA-256 of the lines that are used."""


def find_suite(word: str, folder: Path) -> Path:
    """The file of a suite: `word` is a path, or the name of a file in `folder`.

    Raises:
        SuiteError: there is no such file.
    """
    named = folder / f"{word}{SUFFIX}"
    path = Path(word) if "/" in word or Path(word).suffix in _SUFFIXES else named
    if not path.is_file():
        there = sorted(file.stem for file in folder.glob(f"*{SUFFIX}")) if folder.is_dir() else []
        known = f"; {folder} has {', '.join(there)}" if there else ""
        raise SuiteError(
            f"suite {word}: no file {path}{known}; put JSON lines with `id`, `problem` and `answer` there, name "
            "another folder with --data, or give the path of a file"
        )
    return path


def read_suite(path: Path, limit: int = 0) -> Suite:
    """The first `limit` problems of a file; all for 0.

    Raises:
        SuiteError: the file cannot be read or has no problems, a line is bad, or an id stands in it twice.
    """
    problems: dict[str, Problem] = {}
    digest = hashlib.sha256()
    source = ProblemFile(path)
    try:
        for number, line in source.lines():
            if limit and len(problems) == limit:
                break
            _add(problems, source, line, f"{path}, {source.unit} {number}")
            digest.update(line)
    except OSError as error:
        raise SuiteError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ProblemFileError as error:
        raise SuiteError(f"{path}: {error}") from error
    if not problems:
        raise SuiteError(f"{path}: has no problems; expected one JSON object a line")
    return Suite(path.stem, tuple(problems.values()), digest.hexdigest())


def _add(problems: dict[str, Problem], source: ProblemFile, line: bytes, where: str) -> None:
    try:
        problem = source.problem(line, len(problems) + 1)
    except LineError as error:
        raise SuiteError(f"{where}: {error}") from error
    if problem.prompt_id in problems:
        raise SuiteError(f"{where}: id {problem.prompt_id!r} stands there before; give each problem its own")
    problems[problem.prompt_id] = problem


def read_suites(words: Sequence[str], folder: Path, limit: int = 0) -> list[Suite]:
    """The suites of an evaluation, in the order given.

    Raises:
        SuiteError: none is given, one cannot be used, or two have one name.
    """
    suites = [read_suite(find_suite(word, folder), limit) for word in words]
    if not suites:
        raise SuiteError("no suite is given; name some, such as --suite math500,aime24")
    names = [suite.name for suite in suites]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise SuiteError(f"suite {twice}: given twice; give each once, and two files different names")
    return suites
