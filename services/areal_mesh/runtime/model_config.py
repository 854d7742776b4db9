"""What other services than the learner need to know of a model: read from its config.json, without any library."""

import json
from pathlib import Path


def vocabulary_size(folder: Path) -> int | None:
    """Token ids of a model are under this; None where the folder is not on this machine, or does not say."""
    return _number(folder, "vocab_size")


def position_count(folder: Path) -> int | None:
    """Tokens of prompt and response together that a model has positions for; None where its config does not say."""
    return _number(folder, "max_position_embeddings")


def _number(folder: Path, key: str) -> int | None:
    """A positive number of a model's config, or of that of the language model in it where it has several models."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sections = [config, config.get("text_config")] if isinstance(config, dict) else []
    numbers = [section.get(key) for section in sections if isinstance(section, dict)]
    return next((number for number in numbers if isinstance(number, int) and number > 0), None)
