"""What stands around an answer and says nothing: opening and closing words; answers that are nothing but words."""

from __future__ import annotations

from typing import Final

from areal_mesh.grading.reading.number_words import leading_number
from areal_mesh.grading.reading.spelling import said_in_words
from areal_mesh.grading.reading.tokens import Token
from areal_mesh.grading.trees.nodes import Node, Number
from areal_mesh.grading.vocabulary import (
    CLOSING_PHRASE,
    CLOSING_WORDS,
    CURRENCY_CODES,
    FIGURE_WORDS,
    HEDGES,
    LABEL_WORDS,
    OPENING_SYMBOLS,
    OPENING_WORDS,
    UNKNOWN_OPERATIONS,
)

_INEQUALITIES: Final = frozenset({"<", ">", r"\le", r"\ge", r"\ne"})


def without_ends(tokens: list[Token]) -> list[Token]:
    """Without opening words ("approximately 5"), closing ones ("is the answer") and closing punctuation."""
    start, end = 0, len(tokens)
    equals = next((at for at, token in enumerate(tokens) if token.text == "="), 0)
    if equals > 2 and _is_unknown_operation(tokens[:equals]):
        start = equals + 1  # `3 \star 5 = 10`
    label = next((at for at, token in enumerate(tokens) if token.kind != "word"), 0)
    if 0 < label < end - 1 and tokens[label].text == ":" and (_labelled(tokens) or tokens[label + 1].kind != "number"):
        start = label + 1  # "Domain: [2, 5)"
    elif _is_line(tokens):
        start = 2  # `\ell: y = 2x`
    if 0 < label < end - 1 and _gives_a_figure(tokens, label):
        start = label  # "the line x = 4"
    while start < end - 1 and (
        (tokens[start].kind == "word" and tokens[start].text.lower() in OPENING_WORDS)
        or tokens[start].text in OPENING_SYMBOLS
        or (tokens[start].text == "," and start)
    ):
        start += 1
    while end > start + 1 and tokens[end - 1].text in (",", ";", ":", r"\\"):
        end -= 1
    first = end
    while first > start + 1 and tokens[first - 1].kind == "word":
        first -= 1
    if end > start + 1 and tokens[end - 1].kind == "word" and tokens[end - 1].text.lower() in CLOSING_WORDS:
        return tokens[start : end - 1]
    if CLOSING_PHRASE.fullmatch(" ".join(token.text.lower() for token in tokens[first:end])):
        end = first
    return tokens[start:end]


def _labelled(tokens: list[Token]) -> bool:
    """Whether one label with a colon stands before a value: "Maximum: 7"; a doubt is no label."""
    label = next((at for at, token in enumerate(tokens) if token.kind != "word"), 0)
    if not 0 < label < len(tokens) - 1 or tokens[label].text != ":":
        return False
    doubtful = any(token.text.lower() in HEDGES - LABEL_WORDS for token in tokens[:label])
    return not doubtful and sum(token.text == ":" for token in tokens) == 1


def _is_line(tokens: list[Token]) -> bool:
    """Whether a line's letter stands before its equation."""
    texts = [token.text for token in tokens]
    return (
        len(texts) > 4
        and texts[0] in ("l", r"\ell", "L")
        and texts[1] == ":"
        and texts.count(":") == 1
        and "=" in texts
    )


def _gives_a_figure(tokens: list[Token], at: int) -> bool:
    """Whether the words before a place only say what kind of figure the equation or the coordinates there describe."""
    if any(token.text.lower() not in FIGURE_WORDS for token in tokens[:at]):
        return False
    return tokens[at].text == "(" or any(token.text == "=" for token in tokens[at:])


def _is_unknown_operation(tokens: list[Token]) -> bool:
    """Whether a sign that the question defines joins what stands here, and nothing lists or words it."""
    if any(token.kind in ("word", "join") or token.text in (",", ";") for token in tokens):
        return False
    return any(token.text in UNKNOWN_OPERATIONS for token in tokens[1:-1])


def as_words(tokens: list[Token]) -> Node | None:
    """Words, where the answer is nothing else: a name, a day, a date, a sentence."""
    kinds = [token.kind for token in tokens]
    if "join" in kinds and set(kinds) == {"word", "join"}:
        said = [part for token in tokens for part in token.text.lower().split("-")]
        number = leading_number(said)
        return Number(number[0]) if number and number[1] == len(said) else None
    if _labelled(tokens):
        return None
    if "word" not in kinds or kinds[0] == "number" or (tokens[0].text in ("-", ":") and kinds[1:2] == ["number"]):
        return None
    if any(
        token.kind not in ("word", "number", "letter") and token.text not in ("-", ":", "(", ")") for token in tokens
    ):
        return None
    if all(kind != "number" for kind in kinds) or "letter" not in kinds:
        pieces: list[str] = []
        for token in tokens:
            if token.kind == "letter" and not token.spaced and pieces:
                pieces[-1] += token.text.lower()
            elif token.kind in ("word", "number", "letter"):
                pieces.append(token.text.lower())
        if "number" in kinds and all(
            piece in OPENING_WORDS or piece in CURRENCY_CODES or piece[0].isdigit() for piece in pieces
        ):
            return None
        return said_in_words(" ".join(pieces).split())
    return None


def with_or(tokens: list[Token]) -> list[Token]:
    r"""`x < 1 \cup x > 2` with "or" between its inequalities."""
    texts = {token.text for token in tokens}
    if r"\cup" not in texts or not texts & _INEQUALITIES or texts & {"(", "[", r"\{", r"\in"}:
        return tokens
    return [Token("join", "or", token.spaced) if token.text == r"\cup" else token for token in tokens]
