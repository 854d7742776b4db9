r"""Conditions on letters, written in one way: `x = k\pi (k \in Z)` and `\{k\pi : k \in Z\}` as `..., k \in Z`."""

from __future__ import annotations

from typing import Final

from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.vocabulary import NUMBER_SETS

_MEMBERSHIP: Final = 3
"""Tokens of `k \\in Z`."""
_COMMA: Final = Token("symbol", ",")


def with_plain_conditions(tokens: list[Token]) -> list[Token]:
    """The tokens with a membership at the end, in brackets or of a set, after a comma; others as they are."""
    size = len(tokens)
    if size < _MEMBERSHIP + 3 or tokens[-1].text not in (")", r"\}") or not _is_membership(tokens[-4:-1]):
        return tokens
    before = tokens[-5].text
    if tokens[-1].text == ")" and before == "(":
        end = size - 6 if tokens[-6].text == "," else size - 5
        return [*tokens[:end], _COMMA, *tokens[-4:-1]]
    if tokens[-1].text == r"\}" and before in (":", "|") and tokens[0].text == r"\{":
        inner = tokens[1:-5]
        if len(inner) > 1 and not any(token.text in (r"\{", r"\}", ":", "|") for token in inner):
            return [*inner, _COMMA, *tokens[-4:-1]]
    return tokens


def _is_membership(tokens: list[Token]) -> bool:
    letter, sign, domain = tokens
    return letter.kind == "letter" and sign.text == r"\in" and domain.text in NUMBER_SETS.values()
