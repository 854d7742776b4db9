"""Whether any prompt of a file fits its limit: a sample, tokenized without transformers."""

import importlib.util
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from areal_mesh.runtime.problem_files import ProblemFile, ProblemFileError
from areal_mesh.runtime.problem_lines import LineError
from areal_mesh.runtime.settings import PromptSettings, RunSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE, PROBLEM_PLACE

_SAMPLE = 64
_LONGEST_LINE = 1 << 20


def prompts_too_long(settings: RunSettings) -> Iterator[str]:
    """Says so where every prompt of a sample over the whole file has more tokens than the limit allows.

    A chat template adds tokens of its own, which are not counted here: what this finds too long, is.
    """
    prompts, file = settings.prompts, settings.model.folder / "tokenizer.json"
    if importlib.util.find_spec("tokenizers") is None or not file.is_file() or not prompts.file.is_file():
        return
    tokenizer = _tokenizer(file)
    if tokenizer is None:
        return
    lengths = [
        len(tokenizer.encode(_text(problem, prompts), add_special_tokens=False).ids) for problem in _sample(prompts)
    ]
    if lengths and min(lengths) > prompts.max_prompt_tokens:
        yield (
            f"prompts.max_prompt_tokens = {prompts.max_prompt_tokens}: the shortest of {len(lengths)} prompts out of "
            f"{prompts.file} has {min(lengths)} tokens, so all would be filtered; raise it, or name shorter prompts"
        )


def _tokenizer(file: Path) -> Any:
    """The tokenizer; None where this library does not read it: the generator may, or says why not."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 the library raises nothing narrower
        return None


def _text(problem: str, settings: PromptSettings) -> str:
    content = f"{problem}\n{settings.instruction}" if settings.instruction else problem
    return content if settings.template == CHAT_TEMPLATE else settings.template.replace(PROBLEM_PLACE, content)


def _sample(settings: PromptSettings) -> list[str]:
    """Problems from all over the file, or from all over its first `count`."""
    source = ProblemFile(settings.file, settings.columns, answers_needed=False)
    try:
        lines = (
            _lines_all_over(settings.file)
            if source.is_plain and not settings.count
            else _first_lines(source, settings.count)
        )
    except (OSError, ProblemFileError):
        return []  # told with the file's other faults
    problems = []
    for line in lines:
        try:
            problems.append(source.problem(line, 1).problem)
        except LineError:
            continue  # told with the file's other faults
    return problems


def _first_lines(source: ProblemFile, count: int) -> list[bytes]:
    """Lines of the first `count`, or of all where that is 0, the same distance apart, however many there really are."""
    kept: list[bytes] = []
    apart = 1
    for number, (_, line) in enumerate(islice(source.lines(), count or None)):
        if number % apart == 0:
            kept.append(line)
        if len(kept) == 2 * _SAMPLE:
            kept, apart = kept[::2], 2 * apart
    return kept


def _lines_all_over(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        after = 0
        for number in range(_SAMPLE):
            start = size * number // _SAMPLE
            if start < after:
                continue  # within the line before
            stream.seek(max(0, start - 1))
            if start:
                stream.readline(_LONGEST_LINE)  # the rest of a line that began before
            line = stream.readline(_LONGEST_LINE)
            after = stream.tell()
            if line.strip():
                yield line
