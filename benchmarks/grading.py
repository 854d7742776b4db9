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
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import process_time

from rich.console import Console
from rich.table import Table

from areal_mesh.grading.equality.scalars import Outcome
from areal_mesh.grading.grade import grade
from areal_mesh.grading.symbolic.decide import decide
from areal_mesh.grading.trees.nodes import Node
from areal_mesh.grading.verdict import GradeRequest
from benchmarks.grading_cases import Labelled, labelled
from benchmarks.meshrun import write_result

FILES = ("math_train", "math500", "aime24", "amc23", "gsm8k_test", "aime_train")
BLOCK = 50
SLOWEST_RATE = 3_000
"""Answers a CPU-second that ours has to grade at least."""


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
    console.print(f"figure: answers_a_cpu_second {scores['ours'].rate:.0f}")
    console.print(f"figure: answers_over_math_verify {ratio:.1f}")
    console.print(f"figure: accuracy {scores['ours'].accuracy:.4f}")
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
