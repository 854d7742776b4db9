"""A checkpoint of four ranks, exported by one process, answers as the live policy does, in transformers and in vLLM."""

import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import spawn
from transformers import AutoModelForCausalLM

from areal_mesh.generator.engine import Engine
from areal_mesh.generator.values import Sampling
from areal_mesh.learner.checkpoints.exporting import export_version
from areal_mesh.learner.checkpoints.files import CheckpointStore
from areal_mesh.learner.model.parallel import from_process_group
from areal_mesh.learner.trainer import Trainer
from tests.integration.engine_learner import CONFIG, END, PROMPT
from tests.integration.engine_run import engine_run
from tests.unit.learner_support import make_batch, settings_for

pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")

RANKS = 4
TOKENS = 24
# Four processes import torch and transformers, then one vLLM.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def train_and_save(rank: int, model: str, folder: str) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=RANKS)
    try:
        trainer = Trainer(settings_for(Path(model), "learner.learning_rate=1e-2"), from_process_group("cpu"))
        trainer.step(trainer.parallel.broadcast_batch(make_batch(0) if rank == 0 else None))
        store = CheckpointStore(Path(folder) / "checkpoints", 1, trainer)
        store.save(step=1, stage="8k")
        store.close()
    finally:
        dist.destroy_process_group()


def greedy(model: torch.nn.Module) -> list[int]:
    """Tokens by transformers, the end token among them."""
    prompt = torch.tensor([PROMPT])
    found = model.generate(  # type: ignore[operator]
        prompt,
        attention_mask=torch.ones_like(prompt),
        do_sample=False,
        max_new_tokens=TOKENS,
        eos_token_id=END,
        pad_token_id=END,
    )
    tokens: list[int] = found[0, len(PROMPT) :].tolist()
    return tokens


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as people have them: sharded safetensors behind symbolic links, and no chat template."""
    torch.manual_seed(3)
    blobs, folder = tmp_path_factory.mktemp("blobs"), tmp_path_factory.mktemp("model")
    AutoModelForCausalLM.from_config(CONFIG).save_pretrained(blobs, max_shard_size="100KB")
    for file in blobs.iterdir():
        (folder / file.name).symlink_to(file)
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture(scope="module")
def saved(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    spawn(train_and_save, (str(model), str(folder)), nprocs=RANKS)  # type: ignore[no-untyped-call]
    return folder / "checkpoints"


@pytest.mark.asyncio
async def test_four_ranks_checkpoint_answers_as_the_live_policy(model: Path, saved: Path, tmp_path: Path) -> None:
    live = Trainer(settings_for(model))
    store = CheckpointStore(saved, 1, live)
    manifest = store.load_latest()
    store.close()
    assert manifest is not None
    assert (manifest.policy_version, manifest.world_size) == (1, RANKS)
    export_version(saved, 1, model, "float32", tmp_path / "export")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "export", dtype="auto")
    published = dict(live.named_tensors())
    exported = dict(loaded.named_parameters())
    assert exported.keys() == published.keys()
    assert all(torch.equal(exported[name], tensor) for name, tensor in published.items())
    base = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    base.load_state_dict(published, strict=False)
    expected = greedy(base)
    assert greedy(loaded) == expected
    assert not torch.equal(exported["model.norm.weight"], torch.ones_like(exported["model.norm.weight"]))
    engine = await Engine.start(engine_run(tmp_path / "export"), [END], initial_version=1)
    try:
        (completion,) = await engine.generate(PROMPT, Sampling(1, TOKENS, temperature=0.0, top_p=1.0), "greedy")
    finally:
        engine.shutdown()
    assert completion.token_ids.tolist() == expected
