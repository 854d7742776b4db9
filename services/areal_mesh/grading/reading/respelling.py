r"""Spellings of one thing, as the one that the lexer reads: `2^{nd}` as 2, `0.\dot{3}` as `0.\overline{3}`, `]1,3]` as
`(1,3]`.

Every expression here is linear in the text, which is bounded before, and is tried where the text holds its mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

_Change: TypeAlias = str | Callable[[re.Match[str]], str]

_TEXT: Final = r"\\(?:text|mathrm|mbox|textrm|textup|rm|mathit)\s*\{\s*"
_CODES: Final = {
    "Rs": "rupee", "INR": "rupee", "CNY": "yuan", "RMB": "yuan", "USD": "$", "EUR": "euro", "GBP": "pounds",
    "JPY": "yen", "KRW": "won", "CHF": "franc",
}  # fmt: skip
_SET: Final = r"\\mathbb\s*\{?\s*([RZQN])\s*\}?\s*"
_POSITIVE: Final = r"(?:[\^_]\s*\{?\s*\+\s*\}?|[\^_]\s*\{?\s*>\s*0\s*\}?|_\s*\{\s*\\gt\s*0\s*\})"
_NOT_NEGATIVE: Final = (
    r"(?:[\^_]\s*\{\s*(?:\\geq?(?:slant)?|>=)\s*0\s*\}|_\s*\{?0\}?\s*\^\s*\{?\+\}?|\^\s*\{?\+\}?\s*_\s*\{?0\}?)"
)
_DEGREES: Final = (
    r"(?<![\d.])(\d+(?:\.\d+)?)\s*\^\s*\{?\s*\\circ\s*\}?\s*(\d+(?:\.\d+)?)\s*'(?!')(?:\s*(\d+(?:\.\d+)?)\s*(?:''|\"))?"
)


def _in_degrees(found: re.Match[str]) -> str:
    degrees, minutes, seconds = found.group(1), found.group(2), found.group(3) or "0"
    return rf"({degrees}+\frac{{{minutes}}}{{60}}+\frac{{{seconds}}}{{3600}})^{{\circ}}"


def _inward(found: re.Match[str]) -> str:
    opening, inner, closing = found.groups()
    if not {",", ";"} & set(inner):
        return found.group()
    return ("(" if opening == "]" else opening) + inner + (")" if closing == "[" else closing)


def _without_marks(found: re.Match[str]) -> str:
    return re.sub(r"['.]", "", found.group())


def _numbers_above(found: re.Match[str]) -> str:
    return "(0,\\infty)" if found.group(1) == "R" else r"\mathbb{N}"


def _with_unit(found: re.Match[str]) -> str:
    unit = re.sub(r"\\per(?![a-z])", " per ", found[2]).replace("\\squared", "^2").replace("\\cubed", "^3")
    return rf"{found[1]}\text{{ {unit.replace(chr(92), '')}}}"


def _hexadecimal(found: re.Match[str]) -> str:
    digits = found.group(1)
    return rf"\text{{{digits.upper()}}}_" if re.search("[a-f]", digits) and not digits.isdigit() else found.group()


_RULES: Final[tuple[tuple[str, str, _Change], ...]] = (
    ("$", rf"(?<![A-Za-z\\])(?:{_TEXT})?(?:US|AU|CA|HK|NT|NZ)\s*\}}?\s*(?=\\?\$\s*\d)", ""),
    (
        "",
        rf"(?<![A-Za-z\\])(?:{_TEXT})?({'|'.join(_CODES)})\.?(?:\s|\\ |~|\}})*(?=\d)",
        lambda code: rf"\{_CODES[code[1]]} ",
    ),
    *(
        (ending, rf"(?<=\d)\s*(?:\^\s*\{{?\s*(?:{_TEXT})?{ending}\s*\}}{{0,2}}|{ending}(?![A-Za-z]))", " ")
        for ending in ("st", "nd", "rd", "th")
    ),
    ("clock", rf"(?<=\d)(?:\s*{_TEXT}|\s*)o'?\s?clock\s*\}}?", ":00"),
    ("of", rf"(?<!\d)(\d+)\s*(?:{_TEXT})?out\s+of(?:\s|\}})*(\d+)", r"\\frac{\1}{\2}"),
    ("in", rf"(?<!\d)(\d+)\s*{_TEXT}in\s*\}}\s*(\d+)", r"\\frac{\1}{\2}"),
    (":=", r":=", "="),
    ("Omega", r"(?<=\d)(?:\\[,;:! ]|~|\s)*([kM]?)\s*\\Omega\s*\Z", r"\\text{ \1ohm}"),
    ("\\", r"(?<=[\w})])\s*(?:\\q?quad|\\ \s*\\ )\s*(?=[A-Za-z](?:_\{?\w{1,4}\}?)?\s*=)", ", "),
    ("/", r"(?:\{\s*\})?\^\s*\{?\s*(\d+)\s*\}?\s*/\s*(?:_\s*\{?|\{\s*\}_)\s*(\d+)\s*\}?", r"\\frac{\1}{\2}"),
    (
        "frac",
        rf"\\[dt]?frac\s*\{{\s*{_TEXT}([A-Za-z ]+)\s*\}}\s*\}}\s*\{{\s*{_TEXT}([A-Za-z]+)\s*\}}",
        r"\\text{ \1/\2}{",
    ),
    ("dot", r"\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?", r"\\overline{\1\2\3}"),
    ("dot", r"\\dot\s*\{?(\d+)\}?", r"\\overline{\1}"),
    (",\\", r"(?<=\d),(?=\\(?:overline|bar)\s*\{?\d)", "."),
    ("(", r"(?<![\d.])(\d+\.\d*)\((\d{1,9})\)", r"\1\\overline{\2}"),
    ("{,}", r"(?<![\d,.}])(\d+)\{,\}(\d{1,2}|\d{4,})(?![\d{])", r"\1.\2"),
    ("{,}", r"(?<![\d,.}])0\{,\}(\d+)", r"0.\1"),
    ("'", r"(?<!\d)\d{1,3}(?:'\d{3})+(?!\d)", _without_marks),
    (".", r"(?<![\d.])\d{1,3}(?:\.\d{3}){2,}(?![\d.])", _without_marks),
    ("10", rf"(?<=\d)\s*(?:{_TEXT}[xX]\s*\}}|[xX])\s*(?=10\s*(?:\^|\*\*))", r"\\times "),
    ("circ", _DEGREES, _in_degrees),
    ("]", r"([\[\]])([^\[\]()]*)([\[\]])", _inward),
    ("[", r"([\[\]])([^\[\]()]*)([\[\]])", _inward),
    ("SI", r"\\SI\s*\{([^{}]*)\}\s*\{([^{}]*)\}", _with_unit),
    ("qty", r"\\qty\s*\{([^{}]*)\}\s*\{([^{}]*)\}", _with_unit),
    ("E", r"\A\s*D\.?N\.?E\.?\s*\Z", r"\\text{does not exist}"),
    ("mathrm", r"\\mathrm\s*\{\s*([CAP])\s*\}(?=\s*[_^])", r"\1"),
    ("^", r"(?<![A-Za-z\\])C\s*\^\s*\{?(\w{1,4}?)\}?\s*_\s*\{?(\w{1,4})\}?", r"C_{\2}^{\1}"),
    ("num", r"\\num\s*\{([^{}]*)\}", r"\1"),
    ("_", r"\\overline\s*\{([0-9A-F]+)\}\s*(?=_)", r"\1"),
    ("_", r"(?<![A-Za-z\\{_])([0-9a-fA-F]{2,12})_(?=\{?1[1-6]\}?)", _hexadecimal),
    ("not", r"\\not\s*=", r"\\ne "),
    ("not", r"\\not\s*\\in(?![a-zA-Z])", r"\\notin "),
    ("not", r"\\not\s*\\(?:mid|\|)", r"\\nmid "),
    ("Bbb", r"\\Bbb\s*\{?\s*([A-Z])\s*\}?", r"\\mathbb{\1}"),
    ("math", r"(\A\s*|\\in\s*)\\math(?:bf|rm|cal)\s*\{\s*([RZQCN])\s*\}(?=\s*\Z|\s*[,)}^_])", r"\1\\mathbb{\2}"),
    ("mathbb", _SET + _NOT_NEGATIVE, lambda found: r"[0,\infty)" if found[1] == "R" else r"\mathbb{N}"),
    ("mathbb", _SET + _POSITIVE, _numbers_above),
    ("mathbb", r"\\mathbb\s*\{?\s*R\s*\}?\s*(?:[\^_]\s*\{?\s*-\s*\}?|_\s*\{?\s*<\s*0\s*\}?)", r"(-\\infty,0)"),
    ("mathbb", r"\\mathbb\s*\{?\s*R\s*\}?\s*\^\s*\{?\s*(?:\*|\\ast)\s*\}?", r"\\mathbb{R}\\setminus\\{0\\}"),
    ("mathbb", r"\\mathbb\s*\{?\s*([ZN])\s*\}?\s*(?:\^\s*\{?\s*(?:\*|\\ast)\s*\}?|_\s*\{?0\}?)", r"\\mathbb{N}"),
)
"""(what the text has to hold, what is looked for, how it is written)."""
_COMPILED: Final = tuple((mark, re.compile(pattern, re.ASCII), change) for mark, pattern, change in _RULES)


def respelled(text: str) -> str:
    """The text with one spelling for each thing that has several."""
    for mark, pattern, change in _COMPILED:
        if mark in text:
            text = pattern.sub(change, text)
    return text
