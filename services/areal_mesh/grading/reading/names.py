r"""What stands before an equals sign and only says what the value is: `P(X=2) = \frac37`, `\deg f = 5`, `f''(1) = 7`.

Such a name becomes one token, known by its spelling; what has a value of its own (`\max(3, 5) = 4`) stays.
"""

from __future__ import annotations

from typing import Final

from areal_mesh.grading.reading.tokens import Token, canonical
from areal_mesh.grading.vocabulary import FUNCTION_WORDS, GREEK, HEDGES, NUMBER_SETS, NUMBER_WORDS, RELATIONS

_OPENING: Final = frozenset({"(", "[", "{", r"\{"})
_CLOSING: Final = frozenset({")", "]", "}", r"\}"})
_SEPARATORS: Final = frozenset({",", ";", r"\\", "&"})
_EQUALS: Final = frozenset({"=", r"\approx", r"\equiv"})
_EXTREMES: Final = frozenset({r"\max", r"\min", r"\sup", r"\inf", "max", "min", "maximum", "minimum"})
_OF_MATTERS: Final = _EXTREMES | {
    r"\det", r"\dim", r"\deg", r"\Pr", r"\arg", r"\gcd", r"\lcm", r"\ker", r"\rank", r"\tr", r"\Tr", r"\ord", r"\card",
    r"\Var", r"\Cov", r"\dist", r"\Area", r"\Vol", r"\vol", r"\span", r"\sgn", r"\vp", r"\Res", r"\limsup", r"\liminf",
}  # fmt: skip
"""Functions of what a question describes."""
_WORKED_OUT: Final = frozenset({r"\max", r"\min", r"\det", r"\gcd", r"\lcm", r"\arg"})
_FIGURES: Final = frozenset(
    {r"\measuredangle", r"\sphericalangle", r"\overset", r"\stackrel", r"\overarc", r"\hat", "#"}
) | {
    r"\complement",
    r"\wideparen",
    r"\frown",
    r"\mathbb",
}
_EXPECTED: Final = frozenset("PEVDNnp")
"""Letters of a probability, an expectation, a variance, a count."""
_EVENTS: Final = frozenset({"|", r"\cap", r"\cup", r"\le", r"\ge", "<", ">", "=", r"\in", r"\ne", r"\overline"})


def with_names(tokens: list[Token]) -> list[Token]:
    """The tokens with one token for what only names the value after an equals sign."""
    if not any(token.text in _EQUALS for token in tokens):
        return tokens
    result: list[Token] = []
    start = depth = 0
    named = False
    for at, token in enumerate(tokens):
        depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth:
            continue
        if token.text in _SEPARATORS or token.kind == "join":
            result += tokens[start : at + 1]
            start, named = at + 1, False
        elif token.text in _EQUALS and not named:
            named = True
            side = tokens[start:at]
            if _is_quantity(side):
                side = [Token("name", canonical(side))]
            result += side
            start = at
    return result + tokens[start:]


def _is_quantity(side: list[Token]) -> bool:
    if len(side) < 2:
        return bool(side) and side[0].text in _OF_MATTERS
    first, texts = side[0], [token.text for token in side]
    lettered = any(token.kind in ("letter", "word") or token.text in GREEK for token in side[1:])
    if first.kind == "word":
        return _is_described(side)
    if first.text in _FIGURES or r"\complement" in texts or _ends_in_extreme(texts) or _is_restricted(texts):
        return True
    if first.text in _OF_MATTERS:
        return lettered or first.text not in _WORKED_OUT
    if (first.kind == "command" and first.text == "|") or texts[:2] == ["|", r"\vec"]:
        return texts[-1] == "|"
    if first.text == "[" and texts[-1] == "]" and ":" in texts:
        return True  # a degree of an extension
    if first.text == "m" and texts[1] in (r"\angle", r"\measuredangle"):
        return True
    return _is_function_value(side)


def _is_described(side: list[Token]) -> bool:
    """Whether words describe a matter: `Area of \\triangle ABC`, `rank(A)`; no doubt, no number and no verb."""
    for token in side:
        word = token.text.lower()
        if token.kind == "number" and side[1].text not in ("(", "_"):
            return False
        if token.kind == "word" and (
            word in NUMBER_WORDS or word in HEDGES or (word in FUNCTION_WORDS and word != "both")
        ):
            return False
        if token.text in RELATIONS and side[1].text != "(":
            return False
    return any(token.kind != "word" for token in side)


def _ends_in_extreme(texts: list[str]) -> bool:
    """`f(x)_{\\max}`, `(a+b)_{\\text{min}}`."""
    ending = "".join(texts[-4:]).replace("{", "").replace("}", "")
    return any(ending.endswith("_" + extreme) for extreme in _EXTREMES)


def _is_restricted(texts: list[str]) -> bool:
    """`\\frac{dy}{dx}|_{x=1}`, `y'|_{x=0}`."""
    return any(texts[at] == "|" and texts[at + 1] == "_" for at in range(1, len(texts) - 1))


def _is_function_value(side: list[Token]) -> bool:
    r"""`P(A|B)`, `\varphi(13)`, `v_2(4096)`, `f''(1)`, `f^{(4)}(0)`, `\sigma^2`."""
    head = next((at for at, token in enumerate(side) if token.text in ("(", "[") and _closes_last(side, at)), 0)
    texts = [token.text for token in side]
    if not head:
        return texts[0] in (r"\sigma", r"\chi", r"\mu") and texts[1:] in (["^", "2"], ["^", "{", "2", "}"])
    name, inner = texts[:head], side[head + 1 : -1]
    if len(name) == 1 and name[0] in _EXPECTED:
        capital = all(token.kind == "word" or token.text.isupper() for token in inner)
        return (capital and len(inner) > 1) or any(token.text in _EVENTS or token.kind == "word" for token in inner)
    plain = bool(inner) and all(token.kind in ("number", "letter") or token.text in (",", "-") for token in inner)
    if len(name) == 1:
        plain = plain and len(inner) == 1
        sets = len(inner) == 1 and inner[0].text in NUMBER_SETS.values()
        return (plain and (name[0] in GREEK or name[0] == r"\pi")) or (side[0].kind == "letter" and sets)
    if side[0].kind != "letter" and name[0] not in GREEK:
        return False
    if set(name[1:]) == {"'"}:
        return plain
    derivative = name[1:3] == ["^", "{"] and name[3:4] == ["("] and name[-2:] == [")", "}"]
    return plain and (derivative or (name[1] == "_" and "^" not in name))


def _closes_last(side: list[Token], opening: int) -> bool:
    """Whether the bracket at a place ends with the side."""
    depth = 0
    for at in range(opening, len(side)):
        depth += (side[at].text in _OPENING) - (side[at].text in _CLOSING)
        if depth == 0:
            return at == len(side) - 1
    return False
