"""Labelled answers from reference answers: rewritten (right), perturbed (wrong), crossed with another's (wrong)."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Labelled:
    gold: str
    answer: str
    correct: bool
    kind: str


def rewritten(gold: str, choice: random.Random) -> str:
    """The same answer in another spelling."""
    spellings = list(_respelled_value(gold, choice)) or list(_respelled_layout(gold))
    return choice.choice(spellings) if spellings else f" {gold} "


def _respelled_value(gold: str, choice: random.Random) -> Iterator[str]:
    match = FRACTION.fullmatch(gold)
    if match:
        top, bottom = int(match[1]), int(match[2])
        factor = choice.randint(2, 9)
        yield f"{top}/{bottom}"
        yield f"\\frac{{{top * factor}}}{{{bottom * factor}}}"
        if top > bottom and top % bottom:
            yield f"{top // bottom}\\frac{{{top % bottom}}}{{{bottom}}}"
        yield str(round(top / bottom, 6)) if abs(top / bottom) > 0.1 else f"{top}/{bottom}"
    elif gold.isdigit():
        yield f"{int(gold):,}".replace(",", choice.choice([",", "{,}", ",\\!"]))
        yield f"x = {gold}"
        yield f"{gold} \\text{{ units}}"
        yield f"\\frac{{{2 * int(gold)}}}{{2}}"
    elif "," in gold and not re.search(r"[()\[\]]|,\\!|\d,\d{3}|\{,|and|\\text|\\\{|\\;|=", gold):
        yield " \\text{ and } ".join(part.strip() for part in gold.replace("\\,", "").split(","))
        yield ", ".join(reversed([part.strip() for part in gold.replace("\\,", "").split(",")]))
    elif re.fullmatch(r"[\d.]+ ?(?:\^\\circ|\\%)", gold):
        yield gold.removesuffix("^\\circ").removesuffix("\\%")
        yield gold.replace("^\\circ", "^{\\circ}").replace("\\%", "%")


def _respelled_layout(gold: str) -> Iterator[str]:
    without_unit = re.sub(r"(?<=[\d}])\s*\\(?:text|mbox)\{[^{}]*\}(?:\^2)?\.?$", "", gold)
    if without_unit != gold and without_unit:
        yield without_unit
    if "\\frac" in gold:
        yield gold.replace("\\frac", "\\dfrac")
    based = re.fullmatch(r"(\d+)_\{?(\d)\}?", gold)
    if based:
        yield f"{based[1]}_{{{based[2]}}}"
    interval = re.fullmatch(r"\[([^()\[\],]+),([^()\[\],]+)\]", gold)
    if interval:
        yield f"{interval[1]} \\le x \\le {interval[2]}"
    if not re.search(r"\\[a-zA-Z]+ |[a-z]{2}|\d \d", gold) and " " in gold:
        yield gold.replace(" ", "")
    if gold.count("(") == gold.count(")") > 0 and not re.search(r"\\left|\\text|\\right", gold):
        yield gold.replace("(", "\\left(").replace(")", "\\right)")


def perturbed(gold: str, choice: random.Random) -> str | None:
    """Another answer that looks much like it; None where there is none."""
    candidates = list(_perturbed(gold, choice))
    return choice.choice(candidates) if candidates else None


def _perturbed(gold: str, choice: random.Random) -> Iterator[str]:
    numbers = [match for match in NUMBER.finditer(gold) if not gold[: match.start()].endswith(("_", "_{"))]
    if numbers and "None" not in gold:
        match = choice.choice(numbers)
        changed = str(int(match[0]) + choice.randint(1, 9)).zfill(len(match[0]))
        yield gold[: match.start()] + changed + gold[match.end() :]
    point = re.fullmatch(r"([(\[])([^()\[\],]+),([^()\[\],]+)([)\]])", gold)
    if point:
        left, first, second, right = point.groups()
        yield f"{'[' if left == '(' else '('}{first},{second}{right}"
        if first.strip() != second.strip():
            yield f"{left}{second},{first}{right}"
    if re.fullmatch(r"\d{5,7}", gold):
        yield str(int(gold) + 1)
    if re.fullmatch(r"\d+_\{?[3-8]\}?", gold):
        yield re.sub(r"_\{?(\d)\}?", lambda match: f"_{int(match[1]) + 1}", gold)


def value(text: str) -> Fraction | None:
    """A plain number's value, which tells whether two answers only look different."""
    match = FRACTION.fullmatch(text)
    try:
        return Fraction(int(match[1]), int(match[2])) if match else Fraction(text.replace("\\!", "").replace(",", ""))
    except (ValueError, ZeroDivisionError):
        return None


def labelled(golds: list[str], count: int, choice: random.Random) -> list[Labelled]:
    cases = []
    for gold in choice.choices(golds, k=count):
        other = choice.choice(golds)
        changed = perturbed(gold, choice)
        cases.append(Labelled(gold, rewritten(gold, choice), True, "rewritten"))
        if changed is not None and changed != gold and not (value(changed) and value(changed) == value(gold)):
            cases.append(Labelled(gold, changed, False, "perturbed"))
        if value(other) is not None and value(gold) is not None and value(other) != value(gold):
            cases.append(Labelled(gold, other, False, "crossed"))
    choice.shuffle(cases)
    return cases
