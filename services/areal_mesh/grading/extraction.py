r"""Finding the answer that a response states.

Order: the closing sentence of Minerva's prompt; the last balanced `\boxed`; then the last "the answer is" or "final
answer is"; then the last `<answer>` tag; then, where the caller asks for it, the last number. Time is linear in the
response's length.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from areal_mesh.grading import limits
from areal_mesh.grading.vocabulary import JOINING_WORDS

_BOX = re.compile(r"\\f?boxed(?![a-zA-Z])|\\fbox(?![a-zA-Z])")
_BOX_COMMANDS = (r"\boxed", r"\fbox")
_BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
_STATED = re.compile(
    r"\b(?:final )?answers?[*_]*[ \t]*(?:is|are|:)[ \t]*:?|^#{1,6}[ \t]*[*_]*(?:the )?(?:final )?answer[*_:]*[ \t]*$",
    re.IGNORECASE | re.ASCII | re.MULTILINE,
)
_TAG = re.compile(r"\.?\s*(?:</answer>|<\|)")
_DISPLAYED = re.compile(r"\$\$(.{1,2000}?)\$\$|\\\[(.{1,2000}?)\\\]", re.DOTALL)
_THOUGHT_ENDS = ("</think>", "</thinking>", "</thought>", "</reasoning>", "<|end_of_thought|>")
_PLACEHOLDER = re.compile(
    r"(?:\.{3}|\\[lc]?dots|\?|_+|\\text\{)?\s*(?:(?:your |the )?(?:final )?(?:answer|result)(?: here)?)?\s*\}?",
    re.IGNORECASE,
)
"""What a box holds that only says where an answer goes."""
_SENTENCE_OF_BOX = re.compile(r"\s*[A-Za-z]{2,}\b|[\s.,;:)]*\Z")
_LINE_OR_MATHEMATICS_END = re.compile(r"[$\n]")
_BARE_CHARS = 64
"""Of a box without braces: `\\boxed 5`."""
_ENCLOSING_CHARS = 400
"""From the start of a box to its end, where another box lies within it."""
_TAG_OPEN = "<answer>"
_TAG_CLOSE = "</answer>"
_NUMBER = re.compile(r"-?(?:\d{1,400}(?:\.\d{1,400})?|\.\d{1,400})", re.ASCII)
_SENTENCE_END = re.compile(r"\.(?=\s|$)|\n|,?\s(?:because|since)\b")
_LAYOUT = re.compile(
    r"\\(?:q?quad|text|textbf|mathrm|mbox)(?![a-zA-Z])|\\[\][)(,;:! \\]|[$*{}(),;.\s]|[a-z](?:_\{?\d\}?)?\s*=", re.ASCII
)
_WORD = re.compile(r"[A-Za-z]+")
_SPOKEN = re.compile(r"[^\W_]")
_MINERVA = re.compile(
    r"final answer is[ \t]*:?[ \t]*\$(.{1,400}?)\$\.?[ \t]*I hope it is correct", re.IGNORECASE | re.ASCII
)
"""The closing sentence of Minerva's prompt, which Qwen's protocol puts before a box."""
_OTHER_WORDS = 3
"""Words beside "and" or "or" between joined boxes: "2 papers and 3 bins"."""
_OR = re.compile(r"\bor\b", re.IGNORECASE | re.ASCII)
_JOINS = re.compile(r"[,;]|\band\b|\bor\b", re.IGNORECASE | re.ASCII)


def extract_answer(response: str, *, last_number: bool = False) -> str | None:
    """The answer as the response states it, stripped; None where it states none."""
    found = find_answer(response, last_number=last_number)
    return None if found is None else found.answer


@dataclass(frozen=True, slots=True)
class Stated:
    """The answer that a response states."""

    answer: str
    place: str
    """Where it stands."""
    joined: str | None = None
    """Its reading as one of several adjacent boxes."""


def find_answer(response: str, *, last_number: bool = False) -> Stated | None:
    """The answer as the response states it, after its thoughts or in them; None where it states none."""
    after = max((response.rfind(end) + len(end) for end in _THOUGHT_ENDS if end in response), default=0)
    if after and not response[after:].isspace():
        found = _find_answer(response[after:], last_number=last_number)
        if found is not None and found.answer:
            return found
    return _find_answer(response, last_number=last_number)


def _find_answer(response: str, *, last_number: bool) -> Stated | None:
    closing = _closing_sentence(response)
    if closing is not None:
        return Stated(closing, "the closing sentence")
    placeholder: str | None = None
    passed = 0
    for content, start, _ in _boxes_from_the_end(response):
        if _PLACEHOLDER.fullmatch(content.strip()):
            placeholder = content.strip() if placeholder is None else placeholder
            passed += 1
            if passed > limits.LIST_ITEMS:
                break
            continue
        alone = all(response.rfind(command, 0, start) < 0 for command in _BOX_COMMANDS)
        contents, separators = ([], []) if alone else _adjacent_boxes(response, reference=False)
        joined = ", ".join(contents) if len(contents) > 1 else None
        if joined is not None and (len(contents) > 2 or _OR.search(separators[0])):
            return Stated(joined, "the last boxes")  # a choice, of which the last is not the answer
        return Stated(content.strip(), "the last box", joined)
    if placeholder is not None:
        return Stated(placeholder, "the last box")
    for find, place in ((_after_statement, "the last statement of an answer"), (_inside_tag, "the last <answer> tag")):
        found = find(response)
        if found:
            return Stated(found, place)
    number = _last_number(response) if last_number else None
    return None if number is None else Stated(number, "the last number")


def unclosed_box(reference: str) -> str | None:
    r"""What follows the last `\boxed{` of a reference that was cut off within it."""
    start = max(reference.rfind(command) for command in (r"\boxed{", r"\fbox{"))
    return None if start < 0 else reference[reference.index("{", start) + 1 :]


def _closing_sentence(response: str) -> str | None:
    tail = response[-limits.ANSWER_CHARS :]
    if "I hope it is correct" not in tail:
        return None
    found = [match.group(1) for match in _MINERVA.finditer(tail)]
    return found[-1].strip() if found else None


def joined_boxes(response: str, *, reference: bool = False) -> str | None:
    r"""The answers of adjacent boxes as one list: `\boxed{1} and \boxed{2}` is `1, 2`.

    Only boxes with nothing but a comma, "and", "or" or layout between them are joined, because a box elsewhere
    is an intermediate result; those of a reference, which has no steps, with anything but words and numbers
    between them. None where the last box stands alone.
    """
    contents, _ = _adjacent_boxes(response, reference)
    return ", ".join(contents) if len(contents) > 1 else None


def _adjacent_boxes(response: str, reference: bool) -> tuple[list[str], list[str]]:
    """(contents of the last boxes that are joined, what stands between them); some of them where they are too many."""
    contents: list[str] = []
    separators: list[str] = []
    next_start = -1
    for content, start, end in _boxes_from_the_end(response):
        if contents:
            between = response[end:next_start]
            if not (_joins(between) or (reference and not _SPOKEN.search(_LAYOUT.sub(" ", between)))):
                break
            separators.append(between)
        contents.append(content.strip())
        next_start = start
        if len(contents) > limits.LIST_ITEMS:
            break  # a choice, whatever comes before
    return contents[::-1], separators[::-1]


def _joins(between: str) -> bool:
    """Whether what stands between two boxes makes one listing of them: a comma or "and", and hardly a word more."""
    if len(between) > 60 or ". " in between or not _JOINS.search(between):
        return False
    words = _LAYOUT.sub(" ", between).split()
    others = [word for word in words if word.lower() not in JOINING_WORDS]
    allowed = _OTHER_WORDS if len(others) < len(words) else 0
    return len(others) <= allowed and all(_WORD.fullmatch(word) for word in others)


def _boxes_from_the_end(response: str) -> Iterator[tuple[str, int, int]]:
    """Balanced boxes as (content, start, end), the last first; of boxes within one another the
    outermost that adds more than layout or a name to the one within it.

    A box is searched for its end up to the start of the box after it, and then a little further from that one's end:
    no character is read twice, but by boxes without an end, which are few.
    """
    unbalanced = 0
    stop = len(response)
    waiting: list[tuple[str, int, int]] = []  # found, the last first, and may lie within a box before them
    for start, after in _box_commands_from_the_end(response):
        while waiting and start + _ENCLOSING_CHARS < waiting[0][1]:
            yield waiting.pop(0)
        end, depth = _box_end(response, after, stop)
        if depth and waiting:
            end, _ = _box_end(response, waiting[-1][2], min(len(response), start + _ENCLOSING_CHARS), depth)
        stop = start
        if end is None:
            unbalanced += 1
            if unbalanced == limits.UNBALANCED_BOXES:
                break
            continue
        inner = [box for box in waiting if box[2] <= end]
        waiting = [box for box in waiting if box[2] > end]
        content = _box_content(response[after:end])
        if len(inner) == 1 and not _adds(response[after : inner[0][1]] + response[inner[0][2] : end]):
            content = inner[0][0]
        waiting.append((content, start, end))
        if len(waiting) > limits.LIST_ITEMS:
            yield waiting.pop(0)
    yield from waiting


def _adds(text: str) -> bool:
    """Whether there is more than layout, a name and the commands of boxes in what stands round a box within another."""
    return bool(_LAYOUT.sub("", _BOX.sub("", text)).strip())


def _box_commands_from_the_end(response: str) -> Iterator[tuple[int, int]]:
    """Where each command for a box starts and ends, the last first."""
    others = 0
    # Each command's last place is looked for again only when it was used: no character is searched twice.
    places = {command: response.rfind(command) for command in _BOX_COMMANDS}
    while others <= limits.OTHER_COMMANDS:
        command = max(places, key=places.__getitem__)
        start = places[command]
        if start < 0:
            return
        places[command] = response.rfind(command, 0, start)
        match = _BOX.match(response, start)
        if match is None:
            others += 1
        else:
            yield start, match.end()


def _box_end(response: str, start: int, stop: int, depth: int = 0) -> tuple[int | None, int]:
    """(end, 0) of what is boxed from `start`, `depth` braces deep already; (None, open braces) where it has no end."""
    if not depth:
        while start < stop and response[start].isspace():
            start += 1
        if start == stop:
            return None, 0
        if response[start] != "{":
            bare = _LINE_OR_MATHEMATICS_END.split(response[start : min(stop, start + _BARE_CHARS)], maxsplit=1)[0]
            return (None, 0) if _SENTENCE_OF_BOX.match(bare) else (start + len(bare), 0)
    # Twice the longest readable answer: what is longer is given up as unbalanced.
    for match in _BRACES.finditer(response, start, min(stop, start + 2 * limits.ANSWER_CHARS)):
        if match.group() in "{}":
            depth += 1 if match.group() == "{" else -1
            if depth == 0:
                return match.end(), 0
    return None, depth


def _box_content(boxed: str) -> str:
    boxed = boxed.strip()
    return boxed[1:-1] if boxed.startswith("{") else boxed.rstrip(". ")


def _after_statement(response: str) -> str | None:
    tail = response[-4 * limits.ANSWER_CHARS :]
    found = list(_STATED.finditer(tail))
    if not found:
        return None
    stated = tail[found[-1].end() :].lstrip(" \t\n:*")
    stated = _TAG.split(stated, maxsplit=1)[0]
    displayed = _DISPLAYED.match(stated)
    if displayed:
        return (displayed.group(1) or displayed.group(2)).strip().rstrip(".").strip() or None
    end = _SENTENCE_END.search(stated)
    if end is not None:
        stated = stated[: end.start()]
    return stated.strip().strip("*").strip() or None


def _inside_tag(response: str) -> str | None:
    start = response.rfind(_TAG_OPEN)
    if start < 0:
        return None
    start += len(_TAG_OPEN)
    end = response.find(_TAG_CLOSE, start)
    content = response[start:] if end < 0 else response[start:end]
    return content.strip() or None


def _last_number(response: str) -> str | None:
    numbers = _NUMBER.findall(response[-4 * limits.ANSWER_CHARS :].replace(",", ""))
    return numbers[-1] if numbers else None
