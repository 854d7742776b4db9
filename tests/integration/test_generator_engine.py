"""The real engine on a CPU: sampling, publishes under way, failures. One engine serves the file, in its order."""

import asyncio
import itertools
import json
import logging
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import numpy as np
import pytest
import pytest_asyncio
import torch

from areal_mesh.generator.assembly import UnusableCompletion, check_completions
from areal_mesh.generator.engine import Engine, WeightUpdateFailed
from areal_mesh.generator.engine_process import EngineDied
from areal_mesh.generator.values import Piece, Sampling
from areal_mesh.runtime.settings import RunSettings
from areal_mesh.weights.packing import describe
from areal_mesh.weights.snapshot import Snapshot
from tests.integration.engine_learner import CONFIG, END, PROMPT, Learner, mismatch_kl
from tests.integration.engine_run import engine_run
from tests.processes import started_with

pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")

slow = pytest.mark.slow
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(240)]


def drawing(responses: int, max_response_tokens: int, temperature: float = 1.0) -> Sampling:
    return Sampling(responses, max_response_tokens, temperature, top_p=1.0)


@pytest.fixture(scope="module")
def learner() -> Iterator[Learner]:
    learner = Learner()
    yield learner
    learner.store.close()


@pytest.fixture(scope="module")
def settings(learner: Learner, tmp_path_factory: pytest.TempPathFactory) -> RunSettings:
    folder = tmp_path_factory.mktemp("model")
    learner.model.save_pretrained(folder)
    # None of it is anybody's choice here: every test below samples as the settings say.
    others = {"temperature": 0.01, "top_k": 1, "top_p": 0.1, "repetition_penalty": 5.0, "max_new_tokens": 3}
    (folder / "generation_config.json").write_text(json.dumps(others))
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


@slow
async def test_a_step_costs_no_metrics_that_nobody_is_shown(engine: Engine) -> None:
    loggers = engine._vllm.client.logger_manager.stat_loggers
    assert [type(logger).__name__ for logger in loggers] == ["StepLogger"]
    generated = engine.stats().tokens_generated
    await engine.generate(PROMPT, drawing(2, 5), "counted")
    assert engine.stats().tokens_generated >= generated + 2


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
    assert mismatch_kl(learner, completions, temperature) < 1e-6
    # The check can fail: log-probabilities before the temperature are far off.
    if temperature != 1.0:
        assert mismatch_kl(learner, completions, 1.0) > 0.01


@slow
async def test_tokens_come_one_by_one_and_are_those_of_the_whole_group(engine: Engine) -> None:
    sampling = Sampling(4, 40, 1.0, top_p=1.0, seed=11)
    whole = await engine.generate(PROMPT, sampling, "whole")
    pieces: list[list[Piece]] = [[] for _ in range(4)]
    async with aclosing(engine.stream(PROMPT, sampling, "pieces")) as stream:
        async for piece in stream:
            pieces[piece.response].append(piece)
    assert max(len(those) for those in pieces) > 4
    for those, done in zip(pieces, whole, strict=True):
        assert np.concatenate([piece.token_ids for piece in those]).tolist() == done.token_ids.tolist()
        np.testing.assert_allclose(np.concatenate([piece.log_probs for piece in those]), done.log_probs, atol=1e-5)
        assert [piece.finish_reason for piece in those] == [""] * (len(those) - 1) + [done.finish_reason]
        assert those[-1].version_spans == done.version_spans


@slow
async def test_rows_that_pad_the_vocabulary_are_never_sampled(engine: Engine) -> None:
    """vLLM pads the 48 rows of this model to 64, with weights of zero: as likely as many a token."""
    flat = drawing(32, 60, temperature=2.0)
    sampled = np.concatenate([done.token_ids for done in await engine.generate(PROMPT, flat, "padding")])
    assert sampled.min() >= 0
    assert sampled.max() < CONFIG.vocab_size
    assert len(set(sampled.tolist())) > 40, "of a distribution so flat, rows that could be sampled would have been"


@slow
async def test_a_stream_that_is_closed_ends_its_request(engine: Engine) -> None:
    async with aclosing(engine.stream(PROMPT, drawing(2, 480), "left")) as stream:
        assert (await anext(stream)).finish_reason == ""
    # A request that came later shows the engine as it is after the abort.
    await engine.generate(PROMPT, drawing(1, 4), "marker")
    assert engine.stats().running_requests <= 1


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
    assert mismatch_kl(learner, fresh, 1.0) < 1e-6
    # Both proofs can fail: the learner's next weights have other digests and other log-probabilities.
    held = await engine.digests()
    learner.perturb(0.3)
    assert not set(held[0].values()) & set(learner.digests().values())
    assert mismatch_kl(learner, fresh, 1.0) > 0.001
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
        group.create_task(asyncio.to_thread(sender.broadcast, Snapshot.of(lacking, parameters)))
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
async def test_weights_that_are_no_numbers_are_named_as_that(engine: Engine, learner: Learner) -> None:
    kept = {name: tensor.clone() for name, tensor in learner.model.state_dict().items()}
    with torch.no_grad():
        learner.model.model.norm.weight.fill_(float("nan"))
    await learner.publish(engine)
    completions = await engine.generate(PROMPT, drawing(2, 5), "not-a-number")
    with pytest.raises(UnusableCompletion, match=f"weights of version {learner.version} are NaN or infinite"):
        check_completions(completions, 2)
    learner.model.load_state_dict(kept)
    await learner.publish(engine)
    check_completions(await engine.generate(PROMPT, drawing(2, 5), "numbers-again"), 2)


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
    (core,) = started_with("EngineCore")
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
