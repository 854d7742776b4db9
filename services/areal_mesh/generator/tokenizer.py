"""The model's own tokenizer, as transformers loads it."""

from pathlib import Path

from areal_mesh.prompts.renderer import Tokenizer
from areal_mesh.runtime.errors import StartupError


def load_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a model folder; takes seconds, for transformers is imported here.

    Raises:
        StartupError: the folder holds none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: Tokenizer = AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError) as error:
        raise StartupError(f"model.folder = {folder}: no tokenizer could be loaded from it: {error}") from error
    return tokenizer
