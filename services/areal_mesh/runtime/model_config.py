"""What other services than the learner need to know of a model: read from its config.json, without any library."""

import json
from pathlib import Path


def vocabulary_size(folder: Path) -> int | None:
    """Token ids of a model are under this; None where the folder is not on this machine, or does not say."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    sections = [config, config.get("text_config")] if isinstance(config, dict) else []
    sizes = [section.get("vocab_size") for section in sections if isinstance(section, dict)]
    return next((size for size in sizes if isinstance(size, int) and size > 0), None)
