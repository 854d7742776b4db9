"""Tokens, and the one spelling of answers that differ in layout alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["number", "letter", "word", "command", "symbol", "join", "digits", "name"]


@dataclass(frozen=True, slots=True)
class Token:
    kind: Kind
    text: str
    spaced: bool = False
    """White space came before it."""


def canonical(tokens: list[Token]) -> str:
    """One spelling for all that differ in layout alone."""
    pieces: list[str] = []
    previous: Kind | None = None
    for token in tokens:
        text = token.text.lower() if token.kind == "word" else token.text
        if previous in ("number", "word", "digits") and token.kind in ("number", "word", "letter", "digits", "join"):
            pieces.append(" ")
        pieces.append(f" {text}" if token.kind == "join" else text)
        previous = token.kind
    return "".join(pieces)
