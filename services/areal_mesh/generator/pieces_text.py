"""Text of a response as its tokens come: a character whose bytes are not all there yet waits for its last one."""

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"
_LONGEST_WAIT_TOKENS = 8
"""A character has four bytes at most; what is no character after so many tokens is told as it is."""


class PiecesText:
    """Decodes one response piece by piece; the pieces' texts together are the whole response's text."""

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._token_ids: list[int] = []
        self._told = 0
        """Tokens whose text was given."""
        self._before = 0
        """Tokens whose text was given the time before: the others of `_told` are decoded again with the new ones, for
        a token's text depends on its neighbours."""

    def add(self, token_ids: Sequence[int], last: bool) -> str:
        """The text that these tokens add; with the `last` ones all that was held back."""
        texts = []
        for token_id in token_ids:
            self._token_ids.append(token_id)
            texts.append(self._told_now(len(self._token_ids) - self._told >= _LONGEST_WAIT_TOKENS))
        return "".join(texts) + (self._told_now(True) if last else "")

    def _told_now(self, whole: bool) -> str:
        """Text of the tokens that none was given of yet; empty while it ends within a character, unless `whole`."""
        if self._told == len(self._token_ids):
            return ""
        before = self._decode(self._token_ids[self._before : self._told])
        now = self._decode(self._token_ids[self._before :])
        if now.endswith(_INCOMPLETE) and not whole:
            return ""
        self._before, self._told = self._told, len(self._token_ids)
        return now[len(before) :]
