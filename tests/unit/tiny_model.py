"""A model folder small enough for a test, written by hand: configuration, weights as bytes, tokenizer, template."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

CHAT_TEMPLATE = "{% for message in messages %}<|user|>{{ message.content }}<|assistant|>{% endfor %}"
WORDS = ("<|end|>", "<|user|>", "<|assistant|>", "Compute", "1", "+", ".", "unknown")


def write_safetensors(file: Path, tensors: Mapping[str, tuple[str, bytes]]) -> None:
    """Tensors by name, each a safetensors type and its bytes."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for name, (kind, data) in tensors.items():
        header[name] = {"dtype": kind, "shape": [len(data)], "data_offsets": [start, start + len(data)]}
        start += len(data)
    text = json.dumps(header).encode()
    body = b"".join(data for _, data in tensors.values())
    file.write_bytes(len(text).to_bytes(8, "little") + text + body)


def write_tiny_model(folder: Path, *, positions: int = 512, nan: bool = False, template: str = CHAT_TEMPLATE) -> Path:
    """A folder that passes every check, but for what is asked to be wrong."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder.mkdir(parents=True, exist_ok=True)
    config = {"vocab_size": len(WORDS), "max_position_embeddings": positions, "eos_token_id": 0, "model_type": "qwen2"}
    (folder / "config.json").write_text(json.dumps(config))
    weights = np.linspace(-1, 1, 64, dtype=np.float32)
    if nan:
        weights[17] = np.nan
    write_safetensors(
        folder / "model.safetensors",
        {"model.norm.weight": ("F32", np.ones(4, np.float32).tobytes()), "lm_head.weight": ("F32", weights.tobytes())},
    )
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="unknown"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|end|>", "chat_template": template})
    )
    return folder


def write_prompts(file: Path, words: int = 3, count: int = 20) -> Path:
    """Problems of so many tokens."""
    lines = [{"id": f"p{number}", "problem": "1 " * words, "answer": "2"} for number in range(count)]
    file.write_text("\n".join(map(json.dumps, lines)))
    return file
