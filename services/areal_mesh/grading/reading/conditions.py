r"""Conditions on letters, written in one way: after a comma, as relations.

`x = k\pi (k \in Z)`, `\{k\pi : k \in Z\}`, `k\pi \text{ for any integer } k` and `k\pi \text{ where } k \text{ is an
integer}` are `k\pi, k \in Z`; "for all real x", "for some constant c" say nothing that is not said without them.
"""

from __future__ import annotations

from typing import Final

from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.vocabulary import GREEK, NUMBER_SETS, RELATIONS, words_of

_MEMBERSHIP: Final = 3
"""Tokens of `k \\in Z`."""
_COMMA: Final = Token("symbol", ",")
_IN: Final = Token("command", r"\in")
_NATURALS: Final = Token("command", r"\Naturals")
_INTEGERS: Final = Token("command", r"\Integers")
_OPENERS: Final = frozenset({"for", "where", "with", r"\forall", "given", "provided", "such"})
_WHOLE: Final = {"integer": _INTEGERS, "integers": _INTEGERS, "natural": _NATURALS, "naturals": _NATURALS}
_ABOVE_ZERO: Final = frozenset({"positive", "nonnegative", "non-negative", "natural", "whole"})
_SAID: Final = (
    _ABOVE_ZERO
    | _WHOLE.keys()
    | words_of("""
    for where with given provided such that all any some every each arbitrary constant constants parameter parameters
    is are an a the be real reals number numbers fixed of over and in complex
""")
)
"""Words of a condition that says no more than of which kind a letter is."""


def with_plain_conditions(tokens: list[Token]) -> list[Token]:
    """The tokens with the condition at their end, if there is one, as relations after a comma."""
    if len(tokens) < _MEMBERSHIP:
        return tokens
    inner = _of_set(tokens)
    if inner is not None:
        tokens = inner
    found = _last_condition(tokens)
    if found is None:
        return tokens
    end, condition = found
    relations = _relations(condition)
    letters = {token.text for token in tokens[:end] if _is_letter(token)}
    said = {token.text for token in condition if _is_letter(token)}
    if relations is None or not said & letters:
        return tokens
    kept = tokens[: end - 1] if tokens[end - 1].text == "," else tokens[:end]
    if not kept:
        return tokens
    return [*kept, *(token for relation in relations for token in (_COMMA, *relation))]


def _is_letter(token: Token) -> bool:
    return token.kind == "letter" or token.text in GREEK


def _of_set(tokens: list[Token]) -> list[Token] | None:
    r"""What `\{k\pi : k \in Z\}` holds, with a comma for its colon; None for another answer."""
    braces = len(tokens) > _MEMBERSHIP + 3 and tokens[0].text == r"\{" and tokens[-1].text == r"\}"
    if not braces or not _is_membership(tokens[-4:-1]):
        return None
    inner = tokens[1:-5]
    if tokens[-5].text not in (":", "|") or len(inner) < 2:
        return None
    if any(token.text in (r"\{", r"\}", ":", "|") for token in inner):
        return None
    return [*inner, _COMMA, *tokens[-4:-1]]


def _is_membership(tokens: list[Token]) -> bool:
    letter, sign, domain = tokens
    return letter.kind == "letter" and sign.text == r"\in" and domain.text in NUMBER_SETS.values()


def _last_condition(tokens: list[Token]) -> tuple[int, list[Token]] | None:
    """(where it starts, what it says) of the condition at the end; None where there is none."""
    depth = 0
    opening = -1
    for at, token in enumerate(tokens):
        if token.text in ("(", "[", "{", r"\{"):
            opening = at if depth == 0 else opening
            depth += 1
        elif token.text in (")", "]", "}", r"\}"):
            depth -= 1
        elif depth == 0 and at and token.text.lower() in _OPENERS:
            return at, tokens[at:]
        elif depth == 0 and at and token.text == "," and _is_letter_with_domain(tokens[at + 1 :]):
            return at, tokens[at + 1 :]
    if tokens[-1].text == ")" and opening > 0 and tokens[opening].text == "(":
        inner = tokens[opening + 1 : -1]
        named = opening == 1 and tokens[0].kind == "letter"
        if any(map(_is_letter, inner)) and not named and _is_condition(inner):
            return opening, inner
    return None


def _is_letter_with_domain(tokens: list[Token]) -> bool:
    """Whether `k an integer` or `k \\in Z` follows: a letter and its domain in words or by a letter."""
    if len(tokens) < 2 or not _is_letter(tokens[0]):
        return False
    if tokens[1].text == "=":
        return tokens[-1].text == r"\dots" and all(
            token.kind == "number" or token.text == "," for token in tokens[2:-1]
        )
    if tokens[1].text == r"\in" and len(tokens) == _MEMBERSHIP:
        return tokens[2].text in NUMBER_SETS
    return all(token.kind == "word" and token.text.lower() in _SAID for token in tokens[1:])


def _is_condition(tokens: list[Token]) -> bool:
    """Whether what stands in brackets bounds a letter: no value of one, as in `P(X=2)`."""
    if tokens[1:2] and tokens[1].kind == "word":
        return all(token.kind != "number" for token in tokens)
    if any(token.text == "=" for token in tokens):
        return tokens[1].text == "=" and tokens[-1].text == r"\dots"
    return any(token.text in RELATIONS for token in tokens)


def _relations(condition: list[Token]) -> list[list[Token]] | None:
    """What a condition says as relations, none where it only says that a letter is any; None where it is not read."""
    while condition and (condition[0].kind == "word" or condition[0].text in (r"\forall", ",")):
        if condition[0].kind == "word" and condition[0].text.lower() not in _SAID:
            return None
        if condition[0].text.lower() in _WHOLE or condition[0].text.lower() in _ABOVE_ZERO:
            break
        condition = condition[1:]
    letters = [token for token in condition if _is_letter(token)]
    relation = next((at for at, token in enumerate(condition) if token.text in RELATIONS), None)
    if relation is None:
        words = {token.text.lower() for token in condition if token.kind == "word"}
        others = [token for token in condition if not _is_letter(token) and token.kind not in ("word", "join")]
        if not words <= _SAID or any(token.text not in (",", r"\Reals") for token in others):
            return None
        whole = words & _WHOLE.keys() or words & {"whole"}
        domain = (_NATURALS if words & _ABOVE_ZERO else _INTEGERS) if whole else None
        return [[letter, _IN, domain] for letter in letters] if domain else []
    if any(token.kind == "word" for token in condition):
        return None
    return _of_letters(condition, relation)


def _of_letters(condition: list[Token], at: int) -> list[list[Token]] | None:
    r"""`a, b \in \mathbb{Z}` for each of its letters, `k = 0, 1, 2, \dots` as a membership; others as they are."""
    sign, right = condition[at], condition[at + 1 :]
    names = [token for token in condition[:at] if _is_letter(token)]
    if sign.text == "=" and right and right[-1].text == r"\dots":
        return [[name, _IN, _NATURALS] for name in names]
    if sign.text == r"\in" and len(right) == 1:
        domain = Token("command", NUMBER_SETS.get(right[0].text, right[0].text))
        return [[name, _IN, domain] for name in names]
    return [condition]
