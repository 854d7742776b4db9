"""What the plugin changes in vLLM's log."""

import logging

import pytest

pytest.importorskip("vllm", reason="needs vLLM: install the generator and cpu extras")
from areal_mesh.weights.expected_warnings import keep_out
from areal_mesh.weights.vllm_plugin import register


def test_only_the_warning_of_every_publish_is_kept_out_of_the_log() -> None:
    register()
    register()
    from vllm.model_executor.model_loader.reload import layerwise

    assert len(layerwise.logger.filters) == 1
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    layerwise.logger.addHandler(handler)
    try:
        layerwise.logger.warning("%s: Failed to load weights", "RotaryEmbedding")
        layerwise.logger.warning("%s: Excessive loading", "RotaryEmbedding")
    finally:
        layerwise.logger.removeHandler(handler)
    assert said == ["RotaryEmbedding: Excessive loading"]


def test_a_warning_that_was_not_expected_of_a_logger_is_said() -> None:
    keep_out()
    logger = logging.getLogger("vllm.v1.worker.cpu_worker")
    expected = logger.makeRecord(logger.name, logging.WARNING, "", 0, "%s is not found in LD_PRELOAD. ", ("x",), None)
    other = logger.makeRecord(logger.name, logging.WARNING, "", 0, "out of memory", (), None)
    assert [bool(logger.filter(record)) for record in (expected, other)] == [False, True]
