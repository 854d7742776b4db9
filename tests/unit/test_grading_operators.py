"""Operators that bind a letter, where SymPy takes too long for the labelled set, which goes through services too."""

import pytest

from areal_mesh.grading.equality.scalars import compare_scalars
from areal_mesh.grading.reading.parser import parse
from tests.unit.grading_support import graded


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("5", r"5+\int_0^1 e^{-10^{6}(x-\frac3{10})^2}dx"),  # a peak that few values would miss
        (r"\int_0^x t^t dt", r"\int_0^x s^{2s} ds"),
        (r"\frac12", r"\int_0^1 \sin(\sin x)\,dx"),
    ],
)
def test_what_an_integral_is_not_worth(gold: str, answer: str) -> None:
    assert graded(rf"\boxed{{{answer}}}", gold).status == "incorrect"


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (r"\int_0^x t^t dt", r"\int_0^x s^s ds", True),
        (r"\sum_{k=1}^n a_k b^k", r"\sum_{k=1}^n a_k b^k", True),
        (r"\sum_{j=1}^n \int_0^1 x^{jx} dx", r"\sum_{k=1}^n \int_0^1 y^{ky} dy", True),
        (r"\sum_{j=1}^n \int_0^1 x^{jx} dx", r"\sum_{k=1}^n \int_0^1 k^{ky} dy", None),
    ],
)
def test_bound_letters_are_told_apart_by_what_binds_them(left: str, right: str, equal: bool | None) -> None:
    assert compare_scalars(parse(left), parse(right)).equal is equal
