"""One response of 24,000 tokens over a vocabulary of 151,936, forward and backward: prints the memory that it took.

`python -m tests.unit.long_response FOLDER` writes a small model there. The peak is the kernel's, of this process alone.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, Qwen2Config

from areal_mesh.learner.batches.batch import TrainingBatch
from areal_mesh.learner.batches.micro_batch import MicroBatchBuilder
from areal_mesh.learner.model.policy import load_policy

TOKENS, PROMPT, VOCABULARY, WIDTH = 24_000, 4, 151_936, 16


def main(folder: Path) -> None:
    """Prints one JSON line."""
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=32768,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    policy = load_policy(folder, torch.float32, 1.0, activation_checkpointing=False)
    builder = MicroBatchBuilder(_batch(), 0, torch.device("cpu"), torch.float32)
    before = _peak_gigabytes()
    log_probs = policy(builder.build([0]))
    log_probs.sum().backward()
    gradients = [weight.grad for _, weight in policy.named_weights()]
    finite = all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    print(
        json.dumps(
            {"tokens": log_probs.numel(), "finite": finite, "gigabytes_over_the_model": _peak_gigabytes() - before}
        )
    )


def _batch() -> TrainingBatch:
    return TrainingBatch(
        token_ids=torch.randint(0, VOCABULARY, (PROMPT + TOKENS,)),
        sequence_lengths=torch.tensor([PROMPT + TOKENS]),
        prompt_lengths=torch.tensor([PROMPT]),
        behaviour_log_probs=torch.zeros(TOKENS),
        token_versions=torch.zeros(TOKENS, dtype=torch.int64),
        rewards=torch.ones(1, dtype=torch.float64),
        group_index=torch.zeros(1, dtype=torch.int64),
        response_limits=torch.tensor([TOKENS]),
        truncated=torch.tensor([True]),
    )


def _peak_gigabytes() -> float:
    """Of this program: what `getrusage` says begins with the memory of the process that started it."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.split("VmHWM:")[1].split()[0]) / 1e6


if __name__ == "__main__":
    main(Path(sys.argv[1]))
