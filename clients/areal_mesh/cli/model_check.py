"""What of a model folder and these settings cannot go together, on any machine: found before anything starts.

Reads the folder's own files; imports neither torch nor transformers. What is not there is said elsewhere.
"""

import importlib.util
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from areal_mesh.cli.lora_check import lora_faults
from areal_mesh.cli.preview import rendering_faults
from areal_mesh.cli.prompt_lengths import prompts_too_long
from areal_mesh.cli.weights_check import weight_faults
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.data import CHAT_TEMPLATE, PROBLEM_PLACE

_POSITION_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
# Of these kinds of rotary scaling the configuration's positions are those after it.
_SCALED_ALREADY = ("default", "su", "longrope", "llama3", "yarn", "deepseek_yarn", "deepseek_llama_scaling")


def model_faults(settings: RunSettings) -> Iterator[str]:
    """Each reason for which this model cannot be trained with these settings, with what would do."""
    folder = settings.model.folder
    if not (folder / "config.json").is_file():
        return
    yield from position_faults(settings)
    yield from lora_faults(settings)
    yield from template_faults(settings)
    yield from rendering_faults(settings)
    yield from prompts_too_long(settings)
    if importlib.util.find_spec("numpy") is not None:
        yield from (f"model.folder = {folder}: {fault}, or name another model" for fault in weight_faults(folder))


def position_faults(settings: RunSettings) -> Iterator[str]:
    """Stages whose longest prompt and response have more tokens than the model has positions."""
    folder, prompt_tokens = settings.model.folder, settings.prompts.max_prompt_tokens
    try:
        config = _json_object(folder / "config.json")
    except ValueError as error:
        yield f"model.folder = {folder}: config.json {error}; copy it anew, or name another model"
        return
    positions = positions_of(config)
    if positions is None:
        return
    for number, stage in enumerate(settings.stages):
        tokens = stage.max_response_tokens + prompt_tokens
        if tokens > positions:
            yield (
                f"stages.{number}.max_response_tokens = {stage.max_response_tokens}: with prompts.max_prompt_tokens = "
                f"{prompt_tokens} that is {tokens:,} tokens, and the model in {folder} has {positions:,} positions; "
                "lower one of them, or name another model"
            )


def positions_of(config: Mapping[str, Any]) -> int | None:
    """Positions that a model's configuration allows; None where it does not say."""
    found = [config[key] for key in _POSITION_KEYS if isinstance(config.get(key), int)]
    if not found:
        return None
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    kind = scaling.get("rope_type", scaling.get("type", "default")) if isinstance(scaling, dict) else "default"
    factor = 1.0 if kind in _SCALED_ALREADY else scaling.get("factor") or 1.0
    return max(int(found[0] * factor), config.get("model_max_length") or 0)


def template_faults(settings: RunSettings) -> Iterator[str]:
    """A chat template that the prompts need and the model lacks."""
    own = settings.prompts.chat_template
    if own is not None and not own.is_file():
        yield f"prompts.chat_template = {own}: no such file; name one with a chat template in jinja"
    elif own is None and settings.prompts.template == CHAT_TEMPLATE and not has_chat_template(settings.model.folder):
        yield (
            f'prompts.template = "{CHAT_TEMPLATE}": the tokenizer in {settings.model.folder} has no chat template; '
            f"write the prompt out with {PROBLEM_PLACE} in it, such as "
            f"--set 'prompts.template=Problem: {PROBLEM_PLACE} Answer:', or name another model"
        )


def has_chat_template(folder: Path) -> bool:
    """Whether a tokenizer's files hold a chat template; True where they cannot be read, for that is told elsewhere."""
    if (folder / "chat_template.jinja").is_file() or (folder / "chat_template.json").is_file():
        return True
    file = folder / "tokenizer_config.json"
    try:
        if file.is_file():
            return bool(_json_object(file).get("chat_template"))
    except ValueError:
        return True
    return not (folder / "tokenizer.json").is_file()


def _json_object(file: Path) -> dict[str, Any]:
    """Raises ValueError: the file is no JSON object, or cannot be read."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
    except ValueError as error:
        raise ValueError(f"is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value
