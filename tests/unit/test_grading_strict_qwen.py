"""Where the default differs from Qwen's protocol, and that `strict_qwen` does what that protocol does."""

from fractions import Fraction

import pytest

from areal_mesh.grading import answer_matches
from areal_mesh.grading.strict.latex import read
from areal_mesh.grading.trees.nodes import Call, Node, Number, Product, Symbol, Unparsed, Words
from tests.unit.grading_support import graded

# gold, answer, correct by default, correct by Qwen's protocol. docs/grading.md lists the same differences.
DIFFERENCES = [
    ("50", "5000", False, True),
    ("50", "0.5", False, True),
    ("100000", "100001", False, True),
    ("2(x+1)", "2x+1", False, True),
    ("[0,1)", "(0,1]", False, True),
    ("12", "1,2", False, True),
    ("x=5", "y=5", False, True),
    (r"10\frac{1}{12}", r"\frac{121}{12}", True, False),
    ("1,2,3", "3,2,1", True, False),
    ("1204_9", "12049", False, True),
    ("A", "B,A", False, True),
    (r"1 \pm \sqrt{19}", r"1+\sqrt{19}, 1-\sqrt{19}", True, False),
    ("(-\\infty,2)\\cup(2,\\infty)", "(2,\\infty)\\cup(-\\infty,2)", True, False),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)", True, False),
    (r"12x-4y=0", r"6x-2y=0", True, False),
    (r"8\!:\!34 \text{ p.m.}", "20:34", True, False),
    (r"0.\overline{3}", "1/3", True, False),
    ("4813.24", "4813.25", False, True),
    (r"10\text{ inches}", r"10\text{ cm}", False, True),
    ("-3,-1,1", "-3,-1,6", False, True),  # what follows the first number is not read
    (r"(-\infty,3] \cup [4,\infty)", r"(-\infty,3] \cup [13,\infty)", False, True),
    ("10", "10_{16}", False, True),
    ("x<5", "x>5", False, True),  # how far the sides are apart
    ("(x-1)^3(x+1)^3", "(x-1)^5(x+1)^3", False, True),  # the first bracket without its end
    (r"\frac{p}{2}=q=r", r"\frac{p}{3}=q=r", False, True),  # both are false
    ("1400", "1{,}400", True, False),
    ("x^2+x", "x(x+1)", True, False),  # a function named x
    (r"\sec^2(y)", r"\tan^2(y)+1", True, False),  # seconds are a unit
    ("6.2832", r"2\pi", True, False),  # a letter named pi
    (r"\frac{1}{\sqrt2}", r"\cos 45^\circ", True, False),
]

SAME = [
    ("5", "5", True),
    ("5", "6", False),
    (r"\frac{1}{2}", "0.5", True),
    (r"\frac12", "1/2", True),
    (r"\sqrt{8}", r"2\sqrt{2}", True),
    ("90^\\circ", "90", True),
    ("17\\%", "17", True),
    ("x^2+2x+1", "(x+1)^2", True),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{bmatrix}1\\2\end{bmatrix}", True),
    (r"10\text{ inches}", "10", True),
    (r"34x+45y-20z+100=0", r"-34x-45y+20z-100=0", True),
    ("(1,2)", "(1,3)", False),
    (r"\sin^2(y)", r"1-\cos^2(y)", True),
    (r"\frac{1}{1+\sqrt2}", r"\sqrt2-1", True),
    (r"\{1,2\}", r"\{2,1\}", True),
    (r"3\sqrt{2}", r"\sqrt{19}", False),
    ("x^2-y^2", "(x-y)(x+y)", True),
]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3, 5", Number(Fraction(3))),
        ("1,234,567", Number(Fraction(1234567))),
        ("12,34", Number(Fraction(12))),
        (r"1\,000", Number(Fraction(1000))),
        ("2**3", Number(Fraction(2))),
        ("2^-3", Number(Fraction(2))),
        ("3]\\cup[4", Number(Fraction(3))),
        (r"x\in[-2,7]", Product((Symbol("x"), Symbol("in")))),
        (r"\pi(2)", Call("apply pi", (Number(Fraction(2)),))),
        ("x=y=z", Words("False")),
        ("e", Symbol("e")),
    ],
)
def test_the_protocol_reads_what_a_text_begins_with(text: str, expected: Node) -> None:
    assert read(text) == expected


@pytest.mark.parametrize("text", ["", "-", "(2", "(1,2)", "5.", r"5\%", "5&6", "x;y", "1<x<3", r"\cdot5", "√2"])
def test_what_the_protocol_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(Unparsed):
        read(text)


@pytest.mark.parametrize(("gold", "answer", "default", "strict"), DIFFERENCES)
def test_difference_to_the_protocol(gold: str, answer: str, default: bool, strict: bool) -> None:
    response = f"\\boxed{{{answer}}}"

    assert graded(response, gold).correct == default
    assert graded(response, gold, protocol="strict_qwen").correct == strict


@pytest.mark.parametrize(("gold", "answer", "correct"), SAME)
def test_agreement_with_the_protocol(gold: str, answer: str, correct: bool) -> None:
    response = f"\\boxed{{{answer}}}"

    assert graded(response, gold).correct == correct
    assert graded(response, gold, protocol="strict_qwen").correct == correct


def test_strict_protocol_takes_a_box_without_an_end() -> None:
    response = r"so \boxed{3}, no, \boxed{4"

    assert graded(response, "4", protocol="strict_qwen").correct
    assert graded(response, "3").correct


def test_unknown_protocol_is_refused() -> None:
    with pytest.raises(ValueError, match="choose qwen or strict_qwen"):
        answer_matches(r"\boxed{1}", "1", protocol="other")  # type: ignore[arg-type]
