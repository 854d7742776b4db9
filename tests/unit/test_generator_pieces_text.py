"""Text by pieces: together the whole text, and no character is cut in two."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from areal_mesh.generator.pieces_text import PiecesText


def of_bytes(token_ids: Sequence[int]) -> str:
    """A tokenizer of bytes: most characters are several tokens."""
    return bytes(token_ids).decode(errors="replace")


@given(st.text(min_size=1), st.lists(st.integers(1, 5), min_size=1))
def test_pieces_make_the_whole_text_and_no_piece_holds_half_a_character(text: str, sizes: list[int]) -> None:
    ids = list(text.encode("utf-8", errors="replace"))
    whole = of_bytes(ids)
    pieces = PiecesText(of_bytes)
    told: list[str] = []
    at = 0
    while at < len(ids):
        size = sizes[len(told) % len(sizes)]
        told.append(pieces.add(ids[at : at + size], at + size >= len(ids)))
        at += size
    assert "".join(told) == whole
    assert not any("\ufffd" in piece for piece in told) or "\ufffd" in whole


def test_what_is_no_character_is_told_at_the_end_or_after_a_while() -> None:
    pieces = PiecesText(of_bytes)
    assert pieces.add([0xE2, 0x82], False) == ""
    assert pieces.add([], True) == "\ufffd"
    stuck = PiecesText(of_bytes)
    assert "".join(stuck.add([0xE2], False) for _ in range(20)).startswith("\ufffd")
