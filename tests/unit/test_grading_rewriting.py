"""Rewriting an answer keeps it equal; changing its value never does."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from areal_mesh.grading.grade import grade
from areal_mesh.grading.verdict import GradeRequest
from tests.unit.grading_support import graded

INTEGERS = st.integers(-(10**9), 10**9)
SMALL = st.integers(-30, 30)
POSITIVE = st.integers(1, 400)


def judged(gold: str, answer: str) -> bool:
    return graded(f"\\boxed{{{answer}}}", gold).correct


def fraction_spellings(value: Fraction, factor: int) -> list[str]:
    top, bottom = value.numerator * factor, value.denominator * factor
    return [
        f"\\frac{{{top}}}{{{bottom}}}",
        f"\\dfrac{{{top}}}{{{bottom}}}",
        f"{top}/{bottom}",
        f"\\left(\\tfrac{{{top}}}{{{bottom}}}\\right)",
        f" \\displaystyle \\frac {{ {top} }} {{ {bottom} }} ",
        f"x = \\frac{{{top}}}{{{bottom}}}",
    ]


@settings(deadline=None)
@given(INTEGERS)
def test_an_integer_equals_its_spellings(value: int) -> None:
    grouped = f"{value:,}"
    for spelling in (f"{value}", grouped, grouped.replace(",", "{,}"), grouped.replace(",", ",\\!"), f"${value}$"):
        assert judged(str(value), spelling)


@settings(deadline=None)
@given(INTEGERS, st.integers(1, 10**6))
def test_a_perturbed_integer_never_matches(value: int, change: int) -> None:
    for other in (value + change, value - change, value * 10 + change % 10 + (value == 0)):
        if other != value:
            assert not judged(str(value), str(other))


@settings(deadline=None)
@given(st.fractions(max_denominator=10**4), st.integers(1, 50))
def test_a_fraction_equals_every_expansion(value: Fraction, factor: int) -> None:
    gold = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    for spelling in fraction_spellings(value, factor):
        assert judged(gold, spelling), spelling


@settings(deadline=None)
@given(st.fractions(max_denominator=10**4), st.fractions(max_denominator=10**4))
def test_different_fractions_never_match(value: Fraction, other: Fraction) -> None:
    gold = f"\\frac{{{value.numerator}}}{{{value.denominator}}}"
    assert judged(gold, f"\\frac{{{other.numerator}}}{{{other.denominator}}}") == (value == other)


@settings(deadline=None)
@given(st.decimals(-(10**6), 10**6, places=3), st.integers(1, 999))
def test_a_decimal_perturbed_in_its_last_place_never_matches(value: object, change: int) -> None:
    other = Fraction(str(value)) + Fraction(change, 1000)
    assert not judged(f"{value}", f"{float(other):.3f}") or f"{float(other):.3f}" == f"{value}"


@settings(deadline=None)
@given(POSITIVE, POSITIVE)
def test_a_radical_equals_its_simplified_form(outside: int, inside: int) -> None:
    assert judged(f"{outside}\\sqrt{{{inside}}}", f"\\sqrt{{{outside * outside * inside}}}")
    assert judged(f"\\frac{{{outside}}}{{\\sqrt{{{inside}}}}}", f"\\frac{{{outside}\\sqrt{{{inside}}}}}{{{inside}}}")
    assert not judged(f"{outside}\\sqrt{{{inside}}}", f"\\sqrt{{{outside * outside * inside + 1}}}")


@settings(deadline=None)
@given(st.lists(SMALL, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_a_listing_or_set_does_not_matter_but_its_members_do(items: list[int], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    gold = ", ".join(map(str, items))
    changed = [shuffled[0] + 61, *shuffled[1:]]

    assert judged(gold, ",".join(map(str, shuffled)))
    assert judged(f"\\{{{gold}\\}}", " , ".join(map(str, shuffled)))
    assert not judged(gold, ",".join(map(str, changed)))


@settings(deadline=None)
@given(st.lists(SMALL, min_size=2, max_size=5))
def test_the_order_of_a_tuple_matters(items: list[int]) -> None:
    gold = f"({', '.join(map(str, items))})"
    assert judged(gold, gold.replace(" ", "").replace("(", "\\left(").replace(")", "\\right)"))
    assert judged(gold, f"({','.join(map(str, reversed(items)))})") == (items == items[::-1])


@settings(deadline=None)
@given(st.lists(SMALL, min_size=1, max_size=5), SMALL)
def test_a_polynomial_equals_its_terms_in_any_order_and_no_other(coefficients: list[int], change: int) -> None:
    terms = [f"({coefficient})x^{{{power}}}" for power, coefficient in enumerate(coefficients)]
    gold = "+".join(terms)

    assert judged(gold, " + ".join(reversed(terms)))
    assert judged(gold, f"{gold} + ({change})") == (change == 0)


@settings(deadline=None)
@given(SMALL, SMALL, SMALL)
def test_a_product_of_factors_equals_its_expansion(first: int, second: int, change: int) -> None:
    factored = f"(x+({first}))(x+({second}))"
    expanded = f"x^2+({first + second})x+({first * second + change})"

    assert judged(factored, expanded) == (change == 0)


@settings(deadline=None)
@given(st.integers(-50, 50), st.integers(1, 50), st.sampled_from("(["), st.sampled_from(")]"))
def test_an_interval_equals_its_inequality_with_the_same_ends(low: int, width: int, left: str, right: str) -> None:
    high = low + width
    less, greater = ("\\le" if left == "[" else "<"), ("\\leq" if right == "]" else "<")
    gold = f"{left}{low},{high}{right}"

    assert judged(gold, f"{low} {less} x {greater} {high}")
    assert not judged(gold, f"{'(' if left == '[' else '['}{low},{high}{right}")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60), st.text(alphabet="0123456789xyn+-*/^{}()[],.\\ fracsqrt", max_size=40))
def test_grading_is_deterministic_and_finds_text_equal_to_itself(noise: str, expression: str) -> None:
    for text in (noise, expression):
        request = GradeRequest(f"\\boxed{{{text}}}", (text,))
        first = grade(request, None)
        assert first == grade(request, None)
        if first is not None and first.extracted == text.strip() and text.strip("$ \n\\").strip():
            assert first.correct


@pytest.mark.parametrize("spelling", ["\\dfrac{1}{2}", "\\frac12", "0.5", ".50", "1/2", "½", "\\frac{ 1 }{ 2 }"])
def test_normalised_form_is_reported(spelling: str) -> None:
    verdict = graded(f"\\boxed{{{spelling}}}", "\\frac{1}{2}")
    assert verdict.correct
    assert verdict.extracted == spelling
    assert verdict.normalised
