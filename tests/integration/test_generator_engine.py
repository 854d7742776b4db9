"""The real engine on a CPU: sampling, publishes under way, failures. One engine serves the file, in its order."""

import asyncio
import itertools
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator

import numpy as np
import psutil
import pytest
import pytest_asyncio
import torch

from areal_mesh.generator.engine import Engine, WeightUpdateFailed
from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.values import Completion, Sampling
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.runtime.settings.weights import GlooSettings
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.transports.gloo import Gloo
from areal_mesh.weights.transports.store import StoreMeeting
from tests.integration.engine_run import engine_run

pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")
from transformers import Qwen2Config, Qwen2ForCausalLM

slow = pytest.mark.slow
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]

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


def drawing(responses: int, max_response_tokens: int, temperature: float = 1.0) -> Sampling:
    return Sampling(responses, max_response_tokens, temperature, top_p=1.0)


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
        sender = await self.open(engine)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.to_thread(sender.broadcast, manifest, self.model.named_parameters()))
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


@pytest.fixture(scope="module")
def learner() -> Iterator[Learner]:
    learner = Learner()
    yield learner
    learner.store.close()


@pytest.fixture(scope="module")
def settings(learner: Learner, tmp_path_factory: pytest.TempPathFactory) -> RunSettings:
    folder = tmp_path_factory.mktemp("model")
    learner.model.save_pretrained(folder)
    return engine_run(folder)


@pytest.fixture(scope="module")
def without_a_compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing can be compiled, and nothing that was compiled before is found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", "/nonexistent/c++")
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("with a space")))
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(settings: RunSettings, without_a_compiler: None) -> AsyncIterator[Engine]:
    engine = await Engine.start(settings, [END], initial_version=0)
    yield engine
    said: list[str] = []
    listener = logging.Handler(logging.ERROR)
    listener.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vllm.v1.engine.async_llm")
    logger.addHandler(listener)
    handler = engine._vllm.client.output_handler
    await asyncio.to_thread(engine.shutdown)
    _, unfinished = await asyncio.wait([handler], timeout=10)
    logger.removeHandler(listener)
    assert not unfinished
    assert not said, "an end that was asked for is no failure of the engine"


def _mismatch_kl(learner: Learner, completions: tuple[Completion, ...], temperature: float) -> float:
    """Mean of r - log r - 1 over the tokens, r = exp(learner's - engine's log-probability)."""
    differences = [learner.log_probs(done, temperature) - done.log_probs for done in completions]
    log_ratio = np.concatenate(differences).astype(np.float64)
    return float(np.mean(np.exp(log_ratio) - log_ratio - 1))


@slow
async def test_a_group_is_answered_in_full(engine: Engine) -> None:
    completions = await engine.generate(PROMPT, drawing(8, 40), "group")
    assert len(completions) == 8
    assert len({done.token_ids.tobytes() for done in completions}) > 1
    for done in completions:
        length = len(done.token_ids)
        assert done.token_ids.dtype == np.int32
        assert done.log_probs.dtype == np.float32
        assert done.log_probs.shape == (length,)
        assert [(span.version, span.start, span.end) for span in done.version_spans] == [(0, 0, length)]
        assert done.finish_reason in ("stop", "length")
        # The end-of-sequence token is trained on, so it is there with its log-probability, and nowhere but at the end.
        assert (done.token_ids[-1] == END) == (done.finish_reason == "stop")
        assert END not in done.token_ids[:-1]
        assert done.finish_reason == "stop" or length == 40


@slow
@pytest.mark.parametrize("temperature", [1.0, 0.6])
async def test_log_probabilities_are_those_sampled_from(engine: Engine, learner: Learner, temperature: float) -> None:
    request = f"mismatch-{temperature}"
    completions = await engine.generate(PROMPT, drawing(32, 60, temperature), request)
    assert _mismatch_kl(learner, completions, temperature) < 1e-6
    # The check can fail: log-probabilities before the temperature are far off.
    if temperature != 1.0:
        assert _mismatch_kl(learner, completions, 1.0) > 0.01


@slow
async def test_the_engine_holds_the_folders_weights(engine: Engine, learner: Learner) -> None:
    assert await engine.digests() == [learner.digests()]


@slow
async def test_requests_in_flight_continue_on_the_published_weights(engine: Engine, learner: Learner) -> None:
    async with asyncio.TaskGroup() as group:
        running = group.create_task(engine.generate(PROMPT, drawing(64, 480), "in-flight"))
        # When a request that came later has ended, those before it are well under way.
        await engine.generate(PROMPT, drawing(1, 4), "marker")
        await learner.publish(engine)
    assert engine.policy_version == learner.version == 1
    spanning = 0
    for done in running.result():
        spans = done.version_spans
        assert spans[0].start == 0
        assert spans[-1].end == len(done.token_ids)
        assert all(before.end == after.start for before, after in itertools.pairwise(spans))
        assert [span.version for span in spans] in ([0], [0, 1])
        spanning += len(spans) == 2
    assert spanning > 0


@slow
async def test_kernels_compute_with_what_was_published(engine: Engine, learner: Learner) -> None:
    await learner.publish(engine)
    assert await engine.digests() == [learner.digests()]
    fresh = await engine.generate(PROMPT, drawing(32, 60), "fresh")
    assert {span.version for done in fresh for span in done.version_spans} == {learner.version}
    assert _mismatch_kl(learner, fresh, 1.0) < 1e-6
    # Both proofs can fail: the learner's next weights have other digests and other log-probabilities.
    held = await engine.digests()
    learner.perturb(0.3)
    assert not set(held[0].values()) & set(learner.digests().values())
    assert _mismatch_kl(learner, fresh, 1.0) > 0.001
    await learner.publish(engine)


@slow
async def test_a_publish_that_never_comes_leaves_the_weights_whole(engine: Engine, learner: Learner) -> None:
    before = await engine.digests()
    manifest = learner.step()
    sender = await learner.open(engine, timeout=1.0)
    with pytest.raises(WeightUpdateFailed, match="the former weights are kept") as failure:
        await engine.transfer(manifest)
    sender.close()
    assert failure.value.intact
    assert engine.policy_version == manifest.version - 1
    assert await engine.digests() == before
    (done,) = await engine.generate(PROMPT, drawing(1, 5), "goes-on")
    assert done.version_spans[-1].version == manifest.version - 1


@slow
async def test_a_torn_publish_freezes_generation_until_the_next_one(engine: Engine, learner: Learner) -> None:
    manifest = learner.step()
    parameters = [(name, tensor) for name, tensor in learner.model.named_parameters() if name != "model.norm.weight"]
    lacking = describe(manifest.version, parameters)
    sender = await learner.open(engine)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(sender.broadcast, lacking, parameters))
        with pytest.raises(WeightUpdateFailed, match=r"torn.*\['model.norm.weight'\]") as failure:
            await engine.transfer(lacking)
    sender.close()
    assert not failure.value.intact
    assert engine.stats().paused
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(engine.generate(PROMPT, drawing(1, 5), "waits"))
        await learner.publish(engine)
    assert {span.version for span in waiting.result()[0].version_spans} == {learner.version}
    assert await engine.digests() == [learner.digests()]


@slow
async def test_a_pause_by_hand_outlasts_a_publish(engine: Engine, learner: Learner) -> None:
    await engine.pause()
    async with asyncio.TaskGroup() as group:
        frozen = group.create_task(engine.generate(PROMPT, drawing(1, 5), "frozen"))
        await learner.publish(engine)
        assert engine.stats().paused
        assert not frozen.done()
        await engine.resume()
    assert frozen.result()[0].version_spans[0].version == learner.version


@slow
async def test_a_prompt_without_room_for_a_response_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match=r"a prompt of 512 tokens does not fit .* the 512 tokens"):
        await engine.generate([5] * 512, drawing(1, 5), "too-long")


@slow
async def test_a_dead_engine_process_is_an_error_at_once(engine: Engine) -> None:
    (core,) = (child for child in psutil.Process().children() if "EngineCore" in " ".join(child.cmdline()))
    begin = time.monotonic()
    with pytest.RaisesGroup(EngineDied):
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.generate(PROMPT, drawing(64, 480), "dies"))
            os.kill(core.pid, signal.SIGKILL)
    for call in (engine.watch(), engine.digests(), engine.generate(PROMPT, drawing(1, 5), "late")):
        with pytest.raises(EngineDied):
            await call
    # vLLM alone would leave the checksums unanswered for ever.
    assert time.monotonic() - begin < 10
