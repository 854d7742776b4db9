"""math-verify as an oracle: where it accepts a plain rewriting, so do we, and the same for what it rejects."""

import json
from pathlib import Path

import pytest

from tests.unit.grading_support import graded

CASES = Path(__file__).parent / "grading_cases"
AREAS = ("fractions", "radicals")

# Labels that math-verify 0.9 does not share: it does not read these spellings, or rounds.
DISAGREEMENTS: set[tuple[str, str]] = {
    ("\\frac{1}{2}", "½"),
    ("\\frac{3}{2}", "1 1/2"),
    ("\\dfrac{1}{29,\\!322,\\!216}", "\\frac{1}{29322216}"),
    ("\\frac{2469}{20,\\!000}", "0.12345"),
    ("\\frac{1}{2^{99}}", "\\frac{1}{2^{98}}"),
    ("\\sqrt[3]{-8}", "-2"),
    ("i\\sqrt{2}", "\\sqrt{-2}"),
    ("42x\\sqrt{5x}", "\\sqrt{8820x^3}"),
    ("√2", "\\sqrt{2}"),
    ("9-4\\sqrt5", "9-4\\sqrt5 \\approx 0.08"),
    ("3", "\\sqrt13"),
    ("\\sqrt{13}", "\\sqrt13"),
    ("\\frac72", "3(1/2)"),
    ("\\frac32", "3(1/2)"),
    ("\\frac32", "3\\left(\\frac12\\right)"),
    ("6", "10(3/5)"),
    ("3", "∛27"),
    ("2\\sqrt{113}", "√452"),
    ("2\\sqrt{113}", "2√113"),
    ("\\sqrt[3]{4}", "cbrt(4)"),
    ("1\\pm\\sqrt{19}", "1±√19"),
    ("\\frac{2}{3}", "⅔"),
    ("129\\frac{1}{3}", "129⅓"),
    ("\\frac12", "\\text{one half}"),
    ("\\frac43", "1.333..."),
    ("\\frac{43}{99}", "0.4343\\ldots"),
}


def test_math_verify_agrees_on_plain_mathematics() -> None:
    math_verify = pytest.importorskip("math_verify", reason="install math-verify (the dev extra) to compare with it")
    differing = []
    total = 0
    for area in AREAS:
        for line in (CASES / f"{area}.jsonl").read_text(encoding="utf-8").splitlines():
            case = json.loads(line)
            gold, answer = (math_verify.parse(f"${case[key]}$", parsing_timeout=None) for key in ("gold", "answer"))
            total += 1
            ours = graded(f"\\boxed{{{case['answer']}}}", case["gold"]).correct
            if math_verify.verify(gold, answer, timeout_seconds=None) != ours:
                differing.append((case["gold"], case["answer"]))

    assert total > 70
    assert set(differing) == DISAGREEMENTS
