"""The tokens that end a response: all that tokenizer, model folder and settings name. Reads JSON alone."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_FILES = ("config.json", "generation_config.json")


class EndTokenError(ValueError):
    """End tokens that cannot be used: which, where they stand, and what would do."""


def end_token_ids(folder: Path, of_tokenizer: int | None, chosen: Sequence[int]) -> tuple[int, ...]:
    """Ids of the tokens that end a response, each once, by rising id.

    Args:
        folder: of the model.
        of_tokenizer: end token of the model's tokenizer; None where it has none.
        chosen: `model.end_token_ids` of the settings.

    Raises:
        EndTokenError: none is named anywhere, so that every response would be cut off; or one is outside the
            vocabulary.
    """
    named = {f"{folder}: the tokenizer": [] if of_tokenizer is None else [of_tokenizer]}
    named |= named_end_tokens(folder, chosen)
    found = {token for tokens in named.values() for token in tokens}
    if not found:
        raise EndTokenError(
            f"{folder}: no token ends a response, and every one would be cut off: neither the tokenizer nor "
            f"{' nor '.join(_FILES)} names an end token; set model.end_token_ids"
        )
    _check(named, vocabulary_size(folder))
    return tuple(sorted(found))


def check_end_tokens(folder: Path, chosen: Sequence[int]) -> None:
    """Checks what can be known without the tokenizer; raises as `end_token_ids`."""
    _check(named_end_tokens(folder, chosen), vocabulary_size(folder))


def named_end_tokens(folder: Path, chosen: Sequence[int]) -> dict[str, list[int]]:
    """End tokens by the place that names them: the files of a model folder, and the settings.

    Raises:
        EndTokenError: a file cannot be read, or names something else than ids.
    """
    named = {"model.end_token_ids": list(chosen)}
    for name in _FILES:
        path = folder / name
        named[str(path)] = [token for part in _parts(path) for token in _ids(part.get("eos_token_id"), path)]
    return named


def vocabulary_size(folder: Path) -> int | None:
    """Tokens of the model's vocabulary; None where its config does not say."""
    sizes = [part.get("vocab_size") for part in _parts(folder / "config.json")]
    return next((size for size in sizes if isinstance(size, int)), None)


def _parts(path: Path) -> Iterator[dict[str, Any]]:
    """A config, and that of the language model in it where it has several models."""
    if not path.is_file():
        return
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise EndTokenError(f"{path}: cannot be read as JSON: {error}; mend it") from error
    for part in (value, value.get("text_config")) if isinstance(value, dict) else ():
        if isinstance(part, dict):
            yield part


def _ids(value: Any, path: Path) -> list[int]:
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(not isinstance(token, int) or isinstance(token, bool) for token in ids):
        raise EndTokenError(f"{path}: eos_token_id: expected a token id or several, got {json.dumps(value)}; mend it")
    return ids


def _check(named: dict[str, list[int]], size: int | None) -> None:
    for place, tokens in named.items():
        outside = [token for token in tokens if token < 0 or (size is not None and token >= size)]
        if outside:
            raise EndTokenError(
                f"{place}: the end token {outside[0]} is outside the model's vocabulary of {size} tokens; mend it"
            )
