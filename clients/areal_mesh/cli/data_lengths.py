"""How many tokens the prompts of a data set have: by a model's tokenizer, or estimated without one."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.preparation.stream import Lengths
from areal_mesh.prompts.plain_tokenizer import NoPlainTokenizer, load_plain_tokenizer
from areal_mesh.prompts.renderer import PromptRenderer
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.settings import PromptSettings

_PROBLEM = "1+1?"
_BYTES_A_TOKEN = 3
"""Of mathematics in English and LaTeX: fewer than the 3.5 seen, so that the estimate is rather long."""
ESTIMATED = "estimated, at 3 bytes a token"


def lengths_by(folder: Path | None, prompts: PromptSettings | None) -> tuple[Lengths, str]:
    """What counts a prompt's tokens, and how it does, in words.

    Args:
        folder: of a model; None for an estimate.
        prompts: by which prompts are written; None for the problem alone.

    Raises:
        CommandFailed: the folder's tokenizer cannot be read.
    """
    if folder is None:
        return _estimate, ESTIMATED
    if importlib.util.find_spec("tokenizers") is None:
        raise CommandFailed("--tokenizer needs the package tokenizers; install areal-mesh[generator,cpu]")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        overhead = _overhead(folder, prompts) if prompts is not None else 0
    except (NoPlainTokenizer, StartupError) as error:
        raise CommandFailed(f"{folder}: {error}") from error
    except Exception as error:
        # The library raises nothing narrower.
        raise CommandFailed(f"{folder}/tokenizer.json: {error}; name a model's folder") from error

    def count(problems: Sequence[str]) -> list[int]:
        found = tokenizer.encode_batch(list(problems), add_special_tokens=False)
        return [len(encoding.ids) + overhead for encoding in found]

    return count, f"by the tokenizer in {folder}"


def _overhead(folder: Path, prompts: PromptSettings) -> int:
    """Tokens of the template round a problem."""
    tokenizer = load_plain_tokenizer(folder)
    text = PromptRenderer(tokenizer, prompts).text(_PROBLEM)
    return len(tokenizer.encode(text, add_special_tokens=False)) - len(
        tokenizer.encode(_PROBLEM, add_special_tokens=False)
    )


def _estimate(problems: Sequence[str]) -> list[int]:
    return [-(-len(problem.encode()) // _BYTES_A_TOKEN) for problem in problems]
