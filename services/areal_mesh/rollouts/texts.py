"""Tokens as text, by the tokenizer of the run's model; where there is none, tokens are shown by their ids."""

from collections.abc import Sequence
from pathlib import Path

from areal_mesh.prompts.plain_tokenizer import NoPlainTokenizer, load_plain_tokenizer

_EXPORTS = "checkpoints/export-*"


class TextReader:
    """Text of token ids, as the verifier read it.

    Args:
        run: directory of the run, whose exports hold the tokenizer too.
        model: folder of the model that the run began with.
    """

    def __init__(self, run: Path, model: Path) -> None:
        self._tokenizer = None
        self.missing = ""
        """Why there is no tokenizer; empty where there is one."""
        self.name = "none"
        """Of the tokenizer: texts read by another one may differ."""
        for folder in (model, *sorted(run.glob(_EXPORTS), reverse=True)):
            try:
                self._tokenizer = load_plain_tokenizer(folder)
            except NoPlainTokenizer as error:
                self.missing = self.missing or str(error)
                continue
            self.missing, self.name = "", f"{(folder / 'tokenizer.json').stat().st_size} bytes"
            break

    def text(self, token_ids: Sequence[int]) -> str:
        """Text without control tokens, as it is graded."""
        return self._decoded(token_ids, skip_special_tokens=True)

    def written(self, token_ids: Sequence[int]) -> str:
        """Text with control tokens written out."""
        return self._decoded(token_ids, skip_special_tokens=False)

    def pieces(self, token_ids: Sequence[int]) -> tuple[str, ...]:
        """Text of each token, control tokens written out; a character's text is its last token's."""
        if self._tokenizer is None:
            return tuple(f"<{token_id}> " for token_id in token_ids)
        return self._tokenizer.pieces(token_ids)

    def _decoded(self, token_ids: Sequence[int], skip_special_tokens: bool) -> str:
        if self._tokenizer is None:
            return " ".join(f"<{token_id}>" for token_id in token_ids)
        return self._tokenizer.decode(token_ids, skip_special_tokens=skip_special_tokens)
