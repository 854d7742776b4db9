"""The check of a prompt file before a run begins: every line reads, and every reference matches itself in a box.

A reference that does not would make each response to its problem incorrect, whatever it says.
"""

import importlib.util
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from areal_mesh.runtime.made import NotMadeHere, made_from
from areal_mesh.runtime.problem_lines import LineError, Problem, parse_problem
from areal_mesh.runtime.settings import RunSettings

LINES_NAMED = 5
_SECONDS_BETWEEN_LINES = 2.0
_PLAIN_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
"""Matches itself, which need not be tried; most references are such."""
Matcher = Callable[[str], bool]


def prompt_faults(settings: RunSettings) -> Iterator[str]:
    """What is wrong with the lines of the prompt file: the first of them and their count. Nothing where there is none.

    A file that a recipe made is not looked at.
    """
    file = settings.prompts.file
    if not file.is_file() or _made_by_recipe(file):
        return
    matches = reference_matcher(settings.verifier.protocol)
    faults: list[str] = []
    count = lines = 0
    try:
        for number, fault in check_lines(file, settings.prompts.count, matches):
            lines += 1
            if fault:
                count += 1
                faults += [f"line {number}: {fault}"] if count <= LINES_NAMED else []
    except OSError as error:
        yield f"prompts.file = {file}: cannot be read: {(error.strerror or str(error)).lower()}; name another"
        return
    yield from (f"prompts.file = {file}, {fault}" for fault in faults)
    if count:
        yield f"prompts.file = {file}: {count:,} of {lines:,} lines cannot be used; mend them or take them out"


def check_lines(file: Path, most: int, matches: Matcher) -> Iterator[tuple[int, str]]:
    """Each line that is not blank with its fault, empty where it has none; says how far it is where it takes long.

    Args:
        most: check the first so many; 0 for all.
        matches: whether a reference matches itself.
    """
    known: dict[str, bool] = {}
    shown = time.monotonic()
    done = 0
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, start=1):
            if not raw.strip():
                continue
            yield number, _fault(raw, matches, known)
            done += 1
            if done == most:
                return
            if time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
                shown = time.monotonic()
                print(f"{file}: {done:,} lines checked", file=sys.stderr, flush=True)


def _fault(raw: bytes, matches: Matcher, known: dict[str, bool]) -> str:
    try:
        problem: Problem = parse_problem(raw)
    except LineError as error:
        return str(error)
    return reference_fault(problem.gold_answers, matches, known)


def reference_fault(references: Sequence[str], matches: Matcher, known: dict[str, bool]) -> str:
    """What is wrong with the references of one problem; empty where each matches itself in a box.

    Args:
        known: what was found of references before, to which this adds.
    """
    for reference in references:
        if reference not in known:
            known[reference] = bool(_PLAIN_NUMBER.fullmatch(reference)) or matches(reference)
        if not known[reference]:
            return f"answer: {_short(reference)} does not match itself in a box, so that no response could be correct"
    return ""


def _short(reference: str) -> str:
    return ascii(reference if len(reference) <= 60 else f"{reference[:57]}...")


def reference_matcher(protocol: Literal["qwen", "strict_qwen"]) -> Matcher:
    """What tells whether a reference matches itself in a box."""
    if importlib.util.find_spec("mpmath") is None:
        # Without the verifier's libraries only lines are checked; no run begins without them.
        return lambda _: True
    from areal_mesh.grading import answer_matches

    return lambda reference: answer_matches(f"\\boxed{{{reference}}}", reference, protocol=protocol).status == "correct"


def _made_by_recipe(file: Path) -> bool:
    try:
        return made_from(file) is not None
    except NotMadeHere:
        return False
