"""The other side of an engine's publishes: a transformers model, small enough for a test."""

import asyncio

import numpy as np
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from areal_mesh.generator.engine import Engine
from areal_mesh.generator.values import Completion
from areal_mesh.runtime.settings.weights import GlooSettings
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transports.gloo import Gloo
from areal_mesh.weights.transports.store import StoreMeeting

PROMPT = list(range(5, 25))
END = 2
CONFIG = Qwen2Config(
    vocab_size=48,
    hidden_size=128,
    intermediate_size=192,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
    # Tied, because that is what vLLM's own reloading gets wrong on CPUs.
    tie_word_embeddings=True,
    eos_token_id=END,
)
LAYOUT = ModelLayout(num_key_value_heads=2, tie_word_embeddings=True)


class Learner:
    """The other side of a publish: a transformers model whose weights move a little each version."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = Qwen2ForCausalLM(CONFIG).float().eval()
        self.store = StoreMeeting("127.0.0.1")
        self.version = 0
        self.groups = 0
        self.perturb(0.3)

    @torch.no_grad()
    def perturb(self, scale: float) -> None:
        for parameter in self.model.parameters():
            parameter.add_(scale * (parameter.std() + 0.05) * torch.randn_like(parameter))

    def step(self) -> WeightManifest:
        self.perturb(0.3)
        self.version += 1
        return describe(self.version, self.model.named_parameters())

    def digests(self) -> dict[str, str]:
        return engine_digests(self.model.named_parameters(), LAYOUT, torch.float32)

    async def open(self, engine: Engine, timeout: float = 10.0) -> WeightSender:
        self.groups += 1
        group = self.store.open(f"group-{self.groups}", 2, timeout)
        sender = WeightSender(Gloo(GlooSettings()), group)
        await engine.prepare(group, first_rank=1)
        return sender

    async def publish(self, engine: Engine) -> None:
        manifest = self.step()
        snapshot = Snapshot.of(manifest, self.model.named_parameters())
        sender = await self.open(engine)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(sender.broadcast, snapshot))
            report = await engine.transfer(manifest)
        sender.close()
        assert report.num_bytes == manifest.num_bytes
        assert min(report.pause_seconds, report.transfer_seconds, report.resume_seconds) > 0

    @torch.no_grad()
    def log_probs(self, completion: Completion, temperature: float) -> np.ndarray:
        """Of each response token, by transformers, logits divided by the temperature."""
        tokens = torch.tensor([[*PROMPT, *completion.token_ids.tolist()]])
        logits = self.model(tokens).logits[0, len(PROMPT) - 1 : -1] / temperature
        log_probs: np.ndarray = logits.log_softmax(-1).gather(1, tokens[0, len(PROMPT) :, None])[:, 0].numpy()
        return log_probs


def mismatch_kl(learner: Learner, completions: tuple[Completion, ...], temperature: float) -> float:
    """Mean of r - log r - 1 over the tokens, r = exp(learner's - engine's log-probability)."""
    differences = [learner.log_probs(done, temperature) - done.log_probs for done in completions]
    log_ratio = np.concatenate(differences).astype(np.float64)
    return float(np.mean(np.exp(log_ratio) - log_ratio - 1))
