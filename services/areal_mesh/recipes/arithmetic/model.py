"""The shape of the arithmetic policy: a small Qwen2 model that transformers and vLLM load without changes."""

from dataclasses import dataclass

import torch
from transformers import GenerationConfig, Qwen2Config, Qwen2ForCausalLM, Qwen2Tokenizer


@dataclass(frozen=True)
class ModelShape:
    """Sizes of the policy. ``hidden_size / attention_heads`` is the head size and must be one vLLM's CPU attention has.

    layers: transformer blocks.
    hidden_size: width of the residual stream.
    intermediate_size: width of the gated feed-forward layer.
    attention_heads: query heads.
    key_value_heads: heads of keys and values, shared by groups of query heads.
    context_tokens: longest prompt and response together.
    """

    layers: int = 3
    hidden_size: int = 128
    intermediate_size: int = 384
    attention_heads: int = 4
    key_value_heads: int = 2
    context_tokens: int = 512


def build_model(tokenizer: Qwen2Tokenizer, shape: ModelShape, seed: int) -> Qwen2ForCausalLM:
    """A float32 model with fresh weights drawn from the seed; the caller's random state is left as it was."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.attention_heads,
        num_key_value_heads=shape.key_value_heads,
        max_position_embeddings=shape.context_tokens,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(config)
    model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_k=0,
        top_p=1.0,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model
