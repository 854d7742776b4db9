r"""An answer's LaTeX source before its tokens: what a regular expression mends in one pass over the text.

Every expression here is linear in the text, which is bounded before.
"""

from __future__ import annotations

import re
from typing import Final

from areal_mesh.grading.reading.respelling import respelled
from areal_mesh.grading.trees.nodes import Unparsed

_BRACED_MARK: Final = re.compile(r"(?<!frac)(?<!sqrt)(?<!binom)\{([:.+=-]?)\}")
"""A mark or nothing in braces, which is not an argument."""
_NO_ARGUMENT: Final = re.compile(r"(?:frac|binom)\s*\{[^{}]*\}\s*\{\s*\}")
_ROW_SPACING: Final = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|ex|em|mm|cm)\s*\]", re.ASCII)
_PRIMES: Final = re.compile(r"\^\s*(?:\\prime|\{\s*((?:\\prime\s*)+)\})")
_DIGITS_IN_TEXT: Final = re.compile(r"\\(?:text|mathrm|mbox)\{([0-9A-Z]{1,40})\}([0-9]{1,40})_", re.ASCII)
"""`\\text{A}5_{11}`."""
_DIGITS_IN_BRACKETS: Final = re.compile(r"\((\d+[A-F][0-9A-F]{0,40}|[A-F]+\d[0-9A-F]{0,40})\)_", re.ASCII)
_TEXT_IN_BRACKETS: Final = re.compile(r"\((\\(?:text|mathrm|mbox)\{[0-9A-F]{1,40}\})\)_", re.ASCII)
_ESCAPED_TWICE: Final = re.compile(
    r"(?<!\\)\\\\(?=(?:[dt]?frac|sqrt|pi|left|right|cdot|infty|binom)(?![a-zA-Z]))", re.ASCII
)
"""The backslashes of `\\\\frac12`: a new row has a third one before its command."""
_CHOICES: Final = re.compile(r"[_^]\{?(\w{1,4})\}?\s*C_\{?(\w{1,4})\}?", re.ASCII)
"""`{}_{10}C_3`, `^{10}C_3`: binomial coefficients."""
_DEGREE_MARK: Final = re.compile(
    r"\^\s*(?:\{\s*\\(?:text|mathrm|mbox)\s*\{\s*o\s*\}\s*\}|\\(?:text|mathrm|mbox)\s*\{\s*o\s*\}|(?<=\d\^)\{o\})"
)
"""`20^{\\text{o}}`, `20^{o}`: the letter o for a degree's circle."""


def cleaned(text: str) -> str:
    """Without row spacing and empty groups; with one spelling of primes, degrees, marks and binomial coefficients.

    Raises:
        Unparsed: if a fraction lacks its second part.
    """
    if "prime" in text:
        text = _PRIMES.sub(lambda primes: "'" * max(1, (primes.group(1) or "").count("prime")), text)
    text = respelled(text)
    if "o" in text and "^" in text:
        text = _DEGREE_MARK.sub(r"^{\\circ}", text)
    if "_" in text:
        text = _DIGITS_IN_BRACKETS.sub(r"\1_", _DIGITS_IN_TEXT.sub(r"\\text{\1\2}_", text))
        text = _CHOICES.sub(r"\\binom{\1}{\2}", _TEXT_IN_BRACKETS.sub(r"\1_", text))
    if "\\\\" in text:
        text = _ESCAPED_TWICE.sub(r"\\", text)
        text = _ROW_SPACING.sub(r"\\\\", text)
    if _NO_ARGUMENT.search(text):
        raise Unparsed("a fraction without its second part")
    return _BRACED_MARK.sub(r"\1", text)
