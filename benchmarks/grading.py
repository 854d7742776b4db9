"""Ours beside math-verify on public reference answers: accuracy and answers a CPU-second.

Each reference answer is rewritten (right), perturbed (wrong) and crossed with another problem's (wrong). Both graders
see the same boxed answers in blocks that alternate, in one process, each timed by the CPU time it takes: ours with
SymPy in this process too, where its time counts, and not in a worker as the library has it. A second table says which
rules decided, and what share of the answers reached SymPy.

    python -m benchmarks.grading [--answers N] [--data FOLDER] [--output FILE] [--dry-run]
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from time import process_time

from rich.console import Console
from rich.table import Table

from areal_mesh.grading.equality.scalars import Outcome
from areal_mesh.grading.grade import grade
from areal_mesh.grading.symbolic.decide import decide
from areal_mesh.grading.trees.nodes import Node
from areal_mesh.grading.verdict import GradeRequest
from benchmarks.meshrun import write_result

FILES = ("math_train", "math500", "aime24", "amc23", "gsm8k_test", "aime_train")
BLOCK = 50
SLOWEST_RATE = 3_000
"""Answers a CPU-second that ours has to grade at least."""
FRACTION = re.compile(r"\\[dt]?frac\{(-?\d+)\}\{(\d+)\}")
NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Labelled:
    gold: str
    answer: str
    correct: bool
    kind: str


@dataclass
class Score:
    agreed: int = 0
    wrongly_accepted: int = 0
    wrongly_rejected: int = 0
    cpu_seconds: float = 0.0
    slowest: list[float] = field(default_factory=list)

    @property
    def graded(self) -> int:
        return self.agreed + self.wrongly_accepted + self.wrongly_rejected

    @property
    def accuracy(self) -> float:
        return self.agreed / self.graded

    @property
    def rate(self) -> float:
        return self.graded / self.cpu_seconds


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


@dataclass
class Ours:
    """Our grader, which counts the rules that decide and the answers for which SymPy was asked."""

    decided: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    _questions: int = 0

    def __call__(self, case: Labelled) -> bool:
        before = self._questions
        verdict = grade(GradeRequest(f"So the answer is $\\boxed{{{case.answer}}}$.", (case.gold,)), self._decide)
        assert verdict is not None
        self.decided[verdict.rule] += 1
        self.asked[verdict.rule] += self._questions > before
        return verdict.correct

    def _decide(self, gold: Node, answer: Node) -> Outcome:
        self._questions += 1
        return decide(gold, answer)

    def report(self, console: Console) -> None:
        graded, asked = self.decided.total(), self.asked.total()
        table = Table(title=f"by rule: {asked} of {graded} answers ({100 * asked / graded:.1f} %) reached SymPy")
        for column in ("rule", "answers", "share, %", "reached SymPy", "share of all, %"):
            table.add_column(column, justify="left" if column == "rule" else "right")
        for rule, count in self.decided.most_common():
            reached = self.asked[rule]
            table.add_row(
                rule, str(count), f"{100 * count / graded:.1f}", str(reached), f"{100 * reached / graded:.1f}"
            )
        console.print(table)


def math_verify_grader() -> Callable[[Labelled], bool]:
    from math_verify import LatexExtractionConfig, parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)
    boxed = [LatexExtractionConfig(boxed_match_priority=0)]

    def grade(case: Labelled) -> bool:
        gold = parse(f"$\\boxed{{{case.gold}}}$", boxed, parsing_timeout=5)
        answer = parse(f"So the answer is $\\boxed{{{case.answer}}}$.", boxed, parsing_timeout=5)
        return bool(verify(gold, answer, timeout_seconds=5))

    return grade


def run(cases: list[Labelled], graders: dict[str, Callable[[Labelled], bool]]) -> dict[str, Score]:
    """Both graders over the same blocks, taking turns."""
    scores = {name: Score() for name in graders}
    for start in range(0, len(cases), BLOCK):
        for name, judge in graders.items():
            for case in cases[start : start + BLOCK]:
                began = process_time()
                accepted = judge(case)
                seconds = process_time() - began
                tally(scores[name], case, accepted, seconds)
    return scores


def tally(score: Score, case: Labelled, accepted: bool, seconds: float) -> None:
    score.cpu_seconds += seconds
    score.slowest.append(seconds)
    if accepted == case.correct:
        score.agreed += 1
    elif accepted:
        score.wrongly_accepted += 1
    else:
        score.wrongly_rejected += 1


def report(scores: dict[str, Score], cases: list[Labelled], console: Console) -> float:
    """Print the table; returns how many times math-verify's rate ours is."""
    kinds = ", ".join(
        f"{sum(case.kind == kind for case in cases)} {kind}" for kind in ("rewritten", "perturbed", "crossed")
    )
    table = Table(title=f"{len(cases)} labelled answers: {kinds}")
    for column in (
        "grader",
        "agrees, %",
        "wrongly accepted",
        "wrongly rejected",
        "answers a CPU-second",
        "p50, ms",
        "p99, ms",
    ):
        table.add_column(column, justify="left" if column == "grader" else "right")
    for name, score in scores.items():
        quantiles = statistics.quantiles(score.slowest, n=100)
        table.add_row(
            name,
            f"{100 * score.accuracy:.2f}",
            str(score.wrongly_accepted),
            str(score.wrongly_rejected),
            f"{score.rate:,.0f}",
            f"{1000 * quantiles[49]:.3f}",
            f"{1000 * quantiles[98]:.3f}",
        )
    console.print(table)
    ratio = scores["ours"].rate / scores["math-verify"].rate
    console.print(
        f"ours grades {ratio:.0f} times as many answers a CPU-second (target: 20), "
        f"at {100 * (scores['ours'].accuracy - scores['math-verify'].accuracy):+.2f} points of accuracy"
    )
    return ratio


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--answers", type=int, default=1000, help="reference answers drawn (default: 1000)")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", type=Path, help="write the figures as JSON too")
    parser.add_argument("--dry-run", action="store_true", help="print the table without keeping it as the result")
    options = parser.parse_args()
    paths = [options.data / f"{name}.jsonl" for name in FILES if (options.data / f"{name}.jsonl").exists()]
    if not paths:
        parser.error(f"no data sets in {options.data}: name their folder with --data")
    golds = {str(json.loads(line)["answer"]) for path in paths for line in path.read_text("utf-8").splitlines()}
    # Each distinct answer counts once: otherwise small integers would be most of them.
    cases = labelled(sorted(gold for gold in golds if gold.strip()), options.answers, random.Random(options.seed))
    ours, theirs = Ours(), math_verify_grader()
    run(cases[:BLOCK], {"ours": Ours(), "math-verify": theirs})
    scores = run(cases, {"ours": ours, "math-verify": theirs})
    console = Console(record=True, width=110)
    ratio = report(scores, cases, console)
    ours.report(console)
    if not options.dry_run:
        write_result("grading", console)
    if options.output:
        figures = {
            name: {"accuracy": score.accuracy, "answers_per_cpu_second": score.rate, "graded": score.graded}
            for name, score in scores.items()
        }
        options.output.write_text(json.dumps({**figures, "ratio": ratio}, indent=2) + "\n", encoding="utf-8")
    return (
        0
        if ratio >= 20
        and scores["ours"].rate >= SLOWEST_RATE
        and scores["ours"].accuracy >= scores["math-verify"].accuracy
        else 1
    )


if __name__ == "__main__":
    raise SystemExit(main())
