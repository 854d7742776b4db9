"""`areal-mesh verify --golds`: the references of a data set that no answer could match, before training on them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.prompt_check import Matcher, reference_fault, reference_matcher
from areal_mesh.grading.grade import gold_answer
from areal_mesh.runtime.problem_lines import LineError, parse_line, references


def check_golds(file: str, protocol: Literal["qwen", "strict_qwen"]) -> int:
    """Prints each line whose references no answer could match, or only one of the same letters; returns the exit code.

    Raises:
        CommandFailed: the file cannot be read, or holds no references.
    """
    matches = reference_matcher(protocol)
    lines = hopeless = unread = 0
    try:
        for number, found, note in _faults(Path(file), matches):
            lines += 1
            hopeless += bool(found)
            unread += bool(note)
            if found or note:
                print(f"line {number}: {found or note}")
    except OSError as error:
        raise CommandFailed(f"{file}: {error.strerror or error}") from error
    if not lines:
        raise CommandFailed(f"{file}: holds no references; give `answer` on each line")
    print(f"{lines:,} lines: {hopeless:,} cannot be matched, {unread:,} by the same letters alone")
    return 1 if hopeless else 0


def _faults(file: Path, matches: Matcher) -> Iterator[tuple[int, str, str]]:
    """(number, what is wrong, what is to know) of each line that is not blank."""
    known: dict[str, bool] = {}
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            try:
                golds = _references(raw)
            except LineError as error:
                yield number, str(error), ""
                continue
            found = reference_fault(golds, matches, known)
            yield number, found, "" if found else _unread(golds)


def _references(raw: bytes) -> tuple[str, ...]:
    row = parse_line(raw)
    return references(row.get("answer", row.get("solutions")))


def _unread(golds: tuple[str, ...]) -> str:
    """Why a reference is known by its letters alone; empty where one of the references is read."""
    answers = [gold_answer(gold) for gold in golds]
    if any(answer.readings() for answer in answers):
        return ""
    return f"answer: {golds[0][:60]!a} is not read ({answers[0].problem}): only the same letters match it"
