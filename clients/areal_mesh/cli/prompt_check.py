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
from areal_mesh.runtime.problem_files import ProblemFile, ProblemFileError, problem_files
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.problems import Problem
from areal_mesh.runtime.settings import RunSettings

LINES_NAMED = 5
_SECONDS_BETWEEN_LINES = 2.0
_PLAIN_NUMBER = re.compile(r"-?\d{1,40}(\.\d{1,40})?", re.ASCII)
"""Matches itself, which need not be tried; most references are such."""
Matcher = Callable[[str], bool]


def prompt_faults(settings: RunSettings, most: int = 0) -> Iterator[str]:
    """What is wrong with the lines of the prompt files: the first of them and their count. Nothing where there is none.

    A file that a recipe made is not looked at.

    Args:
        most: look at the first so many of each; 0 for all that the run uses.
    """
    matches = reference_matcher(settings.verifier.protocol)
    most = min(filter(None, (most, settings.prompts.count)), default=0)
    for key, source in problem_files(settings.prompts, answers_needed=not settings.verifier.reward_alone):
        if source.path.is_file() and not _made_by_recipe(source.path):
            yield from _faults_of(f"{key} = {source.path}", source, most, matches)


def _faults_of(named: str, source: ProblemFile, most: int, matches: Matcher) -> Iterator[str]:
    faults: list[str] = []
    count = lines = 0
    try:
        for number, fault in check_lines(source, most, matches):
            lines += 1
            if fault:
                count += 1
                faults += [f"{source.unit} {number}: {fault}"] if count <= LINES_NAMED else []
    except OSError as error:
        yield f"{named}: cannot be read: {(error.strerror or str(error)).lower()}; name another"
        return
    except ProblemFileError as error:
        yield f"{named}: {error}"
        return
    yield from (f"{named}, {fault}" for fault in faults)
    if count:
        yield f"{named}: {count:,} of {lines:,} lines cannot be used; mend them or take them out"


def check_lines(source: ProblemFile, most: int, matches: Matcher) -> Iterator[tuple[int, str]]:
    """Each line that is not blank with its fault, empty where it has none; says how far it is where it takes long.

    Args:
        most: check the first so many; 0 for all.
        matches: whether a reference matches itself.
    """
    known: dict[str, bool] = {}
    shown = time.monotonic()
    for done, (number, raw) in enumerate(source.lines(), start=1):
        yield number, _fault(source, raw, done, matches, known)
        if done == most:
            return
        if time.monotonic() - shown > _SECONDS_BETWEEN_LINES:
            shown = time.monotonic()
            print(f"{source.path}: {done:,} lines checked", file=sys.stderr, flush=True)


def _fault(source: ProblemFile, raw: bytes, ordinal: int, matches: Matcher, known: dict[str, bool]) -> str:
    try:
        problem: Problem = source.problem(raw, ordinal)
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
