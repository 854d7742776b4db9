"""The learner's digests of what the engine holds."""

import hashlib

import pytest
import torch

from areal_mesh.weights.engine_digests import ModelLayout, digest, engine_digests
from areal_mesh.weights.worker_digests import EMPTY_DIGEST, merge_digests

HIDDEN, HEAD, HEADS, KV_HEADS, VOCABULARY = 8, 2, 4, 2, 50
LAYER = "model.layers.0"


def _tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "model.embed_tokens.weight": draw(VOCABULARY, HIDDEN),
        f"{LAYER}.self_attn.q_proj.weight": draw(HEADS * HEAD, HIDDEN),
        f"{LAYER}.self_attn.k_proj.weight": draw(KV_HEADS * HEAD, HIDDEN),
        f"{LAYER}.self_attn.v_proj.weight": draw(KV_HEADS * HEAD, HIDDEN),
        f"{LAYER}.self_attn.o_proj.weight": draw(HIDDEN, HEADS * HEAD),
        f"{LAYER}.mlp.gate_proj.weight": draw(12, HIDDEN),
        f"{LAYER}.mlp.up_proj.weight": draw(12, HIDDEN),
        f"{LAYER}.mlp.down_proj.weight": draw(HIDDEN, 12),
        f"{LAYER}.input_layernorm.weight": draw(HIDDEN),
        "lm_head.weight": draw(VOCABULARY, HIDDEN),
    }


def _digests(tied: bool = False, size: int = 1, dtype: torch.dtype = torch.float32) -> dict[str, str]:
    return engine_digests(_tensors().items(), ModelLayout(KV_HEADS, tied), dtype, size)


def test_a_digest_is_the_sha256_of_the_bytes() -> None:
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3).T
    assert digest(tensor) == hashlib.sha256(tensor.contiguous().numpy().tobytes()).hexdigest()


def test_fused_matrices_are_stacked_in_vllms_order() -> None:
    tensors = _tensors()
    parts = [tensors[f"{LAYER}.self_attn.{part}_proj.weight"] for part in "qkv"]
    assert _digests()[f"tp0:{LAYER}.self_attn.qkv_proj.weight"] == digest(torch.cat(parts))
    halves = [tensors[f"{LAYER}.mlp.{part}_proj.weight"] for part in ("gate", "up")]
    assert _digests()[f"tp0:{LAYER}.mlp.gate_up_proj.weight"] == digest(torch.cat(halves))


def test_the_order_in_which_parts_come_does_not_matter() -> None:
    backwards = reversed(list(_tensors().items()))
    assert engine_digests(backwards, ModelLayout(KV_HEADS, False), torch.float32) == _digests()


def test_the_vocabulary_is_padded_with_zeros() -> None:
    padded = torch.cat([_tensors()["model.embed_tokens.weight"], torch.zeros(64 - VOCABULARY, HIDDEN)])
    assert _digests()["tp0:model.embed_tokens.weight"] == digest(padded)


def test_a_tied_head_is_no_parameter_of_its_own() -> None:
    assert "tp0:lm_head.weight" not in _digests(tied=True)
    assert "tp0:lm_head.weight" in _digests(tied=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_digests_are_those_of_the_engines_dtype(dtype: torch.dtype) -> None:
    norm = _tensors()[f"{LAYER}.input_layernorm.weight"]
    assert _digests(dtype=dtype)[f"tp0:{LAYER}.input_layernorm.weight"] == digest(norm.to(dtype))


def test_tensor_parallel_ranks_hold_their_heads_rows_and_columns() -> None:
    tensors, shards = _tensors(), _digests(size=2)
    for rank in range(2):
        query = tensors[f"{LAYER}.self_attn.q_proj.weight"].reshape(HEADS, HEAD, HIDDEN)[2 * rank : 2 * rank + 2]
        key, value = (
            tensors[f"{LAYER}.self_attn.{part}_proj.weight"].reshape(KV_HEADS, HEAD, HIDDEN)[rank] for part in "kv"
        )
        expected = torch.cat([query.reshape(-1, HIDDEN), key, value])
        assert shards[f"tp{rank}:{LAYER}.self_attn.qkv_proj.weight"] == digest(expected)
        down = tensors[f"{LAYER}.mlp.down_proj.weight"][:, 6 * rank : 6 * rank + 6]
        assert shards[f"tp{rank}:{LAYER}.mlp.down_proj.weight"] == digest(down)
        assert shards[f"tp{rank}:{LAYER}.input_layernorm.weight"] == _digests()[f"tp0:{LAYER}.input_layernorm.weight"]


def test_ranks_beyond_the_key_heads_share_them() -> None:
    tensors, shards = _tensors(), _digests(size=4)
    for rank in range(4):
        query = tensors[f"{LAYER}.self_attn.q_proj.weight"].reshape(HEADS, HEAD, HIDDEN)[rank]
        key, value = (
            tensors[f"{LAYER}.self_attn.{part}_proj.weight"].reshape(KV_HEADS, HEAD, HIDDEN)[rank // 2] for part in "kv"
        )
        assert shards[f"tp{rank}:{LAYER}.self_attn.qkv_proj.weight"] == digest(torch.cat([query, key, value]))


def test_a_fused_matrix_without_a_part_is_an_error_that_names_it() -> None:
    tensors = _tensors()
    del tensors[f"{LAYER}.self_attn.k_proj.weight"]
    with pytest.raises(ValueError, match="qkv_proj"):
        engine_digests(tensors.items(), ModelLayout(KV_HEADS, False), torch.float32)


def test_a_kernels_own_copy_stands_for_an_emptied_parameter() -> None:
    plain = {"dp0:pp0:pcp0:tp1:a.weight": EMPTY_DIGEST, "dp0:pp0:pcp0:tp1:norm.weight": "n"}
    assert merge_digests(plain, {"a.weight": ["k"]}) == {"tp1:a.weight": "k", "tp1:norm.weight": "n"}


def test_an_emptied_parameter_without_a_kernel_matches_nothing_the_learner_sends() -> None:
    assert merge_digests({"dp0:pp0:pcp0:tp0:a.weight": EMPTY_DIGEST}, {}) == {"tp0:a.weight": EMPTY_DIGEST}


def test_holders_of_one_parameter_that_differ_match_no_digest() -> None:
    merged = merge_digests({"dp0:pp0:pcp0:tp0:embed.weight": "new"}, {"embed.weight": ["new", "old"]})
    assert merged == {"tp0:embed.weight": "new|old"}


def test_layout_is_read_from_a_hugging_face_config() -> None:
    assert ModelLayout.from_config({"num_attention_heads": 4, "tie_word_embeddings": True}) == ModelLayout(4, True)
    config = {"num_attention_heads": 4, "num_key_value_heads": 2}
    assert ModelLayout.from_config(config) == ModelLayout(2, False)
