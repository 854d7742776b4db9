"""Seeded multi-step arithmetic problems, their gold answers and their worked solutions.

A problem is a left-to-right sum of single digits, ``Compute 7+5-3.``; its worked solution carries a running total,
one step a line, and boxes the last one:

    7+5=12
    12-3=9 (9+3=12)
    \\boxed{9}

The bracket is a check. It repeats the step backwards and always agrees, so it costs tokens and never finds anything:
what a policy learns to leave out when responses have to be short. A mistaken step overshoots by one or two and the
wrong total is carried on; since every mistake overshoots, two never cancel into a right answer by luck.

Invariants:
- the same seed gives the same problems in the same order, and a longer sequence starts with the shorter one;
- no problem occurs twice in a sequence;
- every running total of a right solution lies in ``0 .. MAX_TOTAL``.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from areal_mesh.runtime.made import write_made

MIN_STEPS = 2
MAX_STEPS = 6
MAX_TOTAL = 19
"""Bound of the running total; small, so that the facts (total, sign, digit) are learned within a minute."""
OVERSHOOTS = (1, 2)
SOURCE = "areal_mesh.recipes.arithmetic"
RECIPE = "arithmetic"
FORMAT = 1
"""Raised when other problems come of the same seed, so that files of older code are made anew."""

Sign = Literal["+", "-"]


@dataclass(frozen=True)
class Term:
    """One operation of a problem: the digit that is added to the running total or taken from it."""

    sign: Sign
    digit: int

    def applied_to(self, total: int) -> int:
        """The running total after this operation."""
        return total + self.digit if self.sign == "+" else total - self.digit


@dataclass(frozen=True)
class Problem:
    """A first digit and the operations on it, in the order in which they are carried out."""

    first: int
    terms: tuple[Term, ...]

    @property
    def expression(self) -> str:
        """The sum as it is written, such as ``7+5-3``."""
        return str(self.first) + "".join(f"{term.sign}{term.digit}" for term in self.terms)

    @property
    def text(self) -> str:
        """What is asked, as the prompt shows it."""
        return f"Compute {self.expression}."

    @property
    def answer(self) -> str:
        """The gold answer in decimal digits."""
        total = self.first
        for term in self.terms:
            total = term.applied_to(total)
        return str(total)


@dataclass(frozen=True)
class SolutionStyle:
    """How often a worked solution goes wrong and how often it checks itself.

    mistake_probability: chance that a step's result overshoots; 0 gives right solutions only.
    check_probability: chance that a step is followed by its check.
    """

    mistake_probability: float = 0.0
    check_probability: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (
            ("mistake_probability", self.mistake_probability),
            ("check_probability", self.check_probability),
        ):
            if not 0.0 <= value <= 1.0:
                raise ValueError(f"{name} is {value}; it is a probability and must lie between 0 and 1")


def generate_problems(seed: int) -> Iterator[Problem]:
    """Endless sequence of distinct problems, fixed by the seed; the number of steps is uniform between its bounds."""
    generator = random.Random(seed)
    seen: set[Problem] = set()
    while True:
        problem = _draw_problem(generator)
        if problem not in seen:
            seen.add(problem)
            yield problem


def worked_solution(problem: Problem, generator: random.Random, style: SolutionStyle) -> str:
    """One sampled worked solution, ending in the boxed running total (which is wrong where a step was)."""
    total = problem.first
    lines = []
    for term in problem.terms:
        result = term.applied_to(total)
        if generator.random() < style.mistake_probability:
            result += generator.choice(OVERSHOOTS)
        line = f"{total}{term.sign}{term.digit}={result}"
        if generator.random() < style.check_probability:
            inverse = "-" if term.sign == "+" else "+"
            line += f" ({result}{inverse}{term.digit}={total})"
        lines.append(line)
        total = result
    return "\n".join([*lines, f"\\boxed{{{total}}}"])


def prompt_lines(count: int, seed: int) -> Iterator[str]:
    """The first ``count`` problems of a seed as JSON objects ``{"id", "problem", "answer", "source"}``, one a line."""
    for index, problem in enumerate(islice(generate_problems(seed), count)):
        record = {
            "id": f"arithmetic-{seed}-{index:06d}",
            "problem": problem.text,
            "answer": problem.answer,
            "source": SOURCE,
        }
        yield json.dumps(record) + "\n"


def write_prompts(path: Path, count: int, seed: int) -> bool:
    """Write a prompt file of ``count`` problems; True if it was written, False if it already held exactly these.

    The file is written aside, synced and renamed, so a reader sees the old one or the new one and never a part.

    Raises:
        ValueError: ``count`` is not positive.
        NotMadeHere: there is a file, and this recipe did not make it, or it was changed since; it is left untouched.
    """
    if count < 1:
        raise ValueError(f"count is {count}; a prompt file needs at least one problem")
    source = {"recipe": RECIPE, "format": FORMAT, "count": count, "seed": seed}
    return write_made(path, lambda: "".join(prompt_lines(count, seed)), source)


def _draw_problem(generator: random.Random) -> Problem:
    first = total = generator.randint(1, 9)
    terms: list[Term] = []
    for _ in range(generator.randint(MIN_STEPS, MAX_STEPS)):
        choices = [
            Term(sign, digit)
            for sign in ("+", "-")
            for digit in range(1, 10)
            if 0 <= Term(sign, digit).applied_to(total) <= MAX_TOTAL
        ]
        term = generator.choice(choices)
        terms.append(term)
        total = term.applied_to(total)
    return Problem(first, tuple(terms))
