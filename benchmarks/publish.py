"""How long a publish freezes generation, and how near its transfer comes to the wire.

    python -m benchmarks.publish [--rounds N] [--model small|smollm2] ...

One learner process and one engine, on the loopback interface. Rounds alternate: a bare Gloo broadcast of the same
tensors, one call a tensor into memory that is there already, between two processes that do nothing else; then a whole
publish into a vLLM engine that is generating. Medians are printed. After the last round the engine's checksums must
equal the sender's.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, LlamaConfig, PretrainedConfig, Qwen2Config

from areal_mesh.generator.engine import Engine
from areal_mesh.generator.values import PublishReport, Sampling
from areal_mesh.runtime.settings import RunSettings, load_settings
from areal_mesh.runtime.settings.weights import GlooSettings
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe, torch_dtype
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transports.gloo import Gloo, GlooWire
from areal_mesh.weights.transports.store import StoreMeeting
from benchmarks.meshrun import write_result

TIMEOUT_SECONDS = 60.0
SAMPLING = Sampling(responses=16, max_response_tokens=32, temperature=1.0, top_p=1.0)
NEVER = 1
"""A token that is rarely drawn stands for the end of a sequence."""

MODELS: dict[str, tuple[PretrainedConfig, Literal["float32", "bfloat16"]]] = {
    "small": (
        Qwen2Config(
            vocab_size=64,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=4,
            num_attention_heads=8,
            num_key_value_heads=4,
            tie_word_embeddings=True,
            eos_token_id=NEVER,
        ),
        "float32",
    ),
    "smollm2": (
        LlamaConfig(
            vocab_size=49152,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            eos_token_id=NEVER,
        ),
        "bfloat16",
    ),
}


@dataclass(frozen=True)
class Measured:
    """All rounds of one model."""

    name: str
    num_bytes: int
    bare_seconds: list[float]
    publishes: list[PublishReport]


def _receive_bare(group: Group, manifest: WeightManifest, rounds: Connection) -> None:
    wire = GlooWire(group, 1)
    targets = [torch.empty(spec.num_bytes, dtype=torch.uint8) for spec in manifest.tensors]
    while rounds.recv():
        for target in targets:
            wire.receive(target)
        rounds.send(True)
    wire.close()


@contextmanager
def _bare_peer(group: Group, manifest: WeightManifest) -> Iterator[Connection]:
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_receive_bare, args=(group, manifest, theirs))
    process.start()
    try:
        yield ours
        ours.send(False)
        process.join(TIMEOUT_SECONDS)
    finally:
        process.kill()


def _broadcast_bare(wire: GlooWire, peer: Connection, tensors: list[torch.Tensor]) -> float:
    """Seconds until the peer holds every tensor."""
    peer.send(True)
    begin = time.monotonic()
    for tensor in tensors:
        wire.broadcast(tensor.contiguous().view(-1).view(torch.uint8))
    peer.recv()
    return time.monotonic() - begin


async def _publish(engine: Engine, store: StoreMeeting, version: int, model: torch.nn.Module) -> PublishReport:
    manifest = describe(version, model.named_parameters())
    snapshot = Snapshot.of(manifest, model.named_parameters())
    group = store.open(f"publish-{version}", 2, TIMEOUT_SECONDS)
    sender = WeightSender(Gloo(GlooSettings()), group)
    await engine.prepare(group, first_rank=1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(engine.generate([3, 4, 5], SAMPLING, f"load-{version}"))
        tasks.create_task(asyncio.to_thread(sender.broadcast, snapshot))
        report = await engine.transfer(manifest)
    sender.close()
    return report


def _run(folder: Path, dtype: str) -> RunSettings:
    """The trial on the model in `folder`, of 512 tokens of prompt and response together."""
    values = {"model.recipe": "none", "model.folder": folder, "model.dtype": dtype, "prompts.max_prompt_tokens": 392}
    return load_settings("trial", [f"{key}={value}" for key, value in values.items()])


async def _measure(name: str, rounds: int, folder: Path) -> Measured:
    config, dtype = MODELS[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(torch_dtype(dtype)).requires_grad_(False)
    model.save_pretrained(folder)
    store = StoreMeeting("127.0.0.1")
    tensors = [tensor for _, tensor in model.named_parameters()]
    manifest = describe(0, model.named_parameters())
    bare, bare_seconds, publishes = store.open("bare", 2, TIMEOUT_SECONDS), [], []
    engine = await Engine.start(_run(folder, dtype), [NEVER], initial_version=0)
    with _bare_peer(bare, manifest) as peer:
        wire = await asyncio.to_thread(GlooWire, bare, 0)
        for version in range(rounds + 1):
            bare_seconds.append(await asyncio.to_thread(_broadcast_bare, wire, peer, tensors))
            publishes.append(await _publish(engine, store, version, model))
    layout = ModelLayout.from_config(config.to_dict())
    if await engine.digests() != [engine_digests(model.named_parameters(), layout, torch_dtype(dtype))]:
        raise SystemExit(f"{name}: the engine's checksums are not the sender's")
    engine.shutdown()
    # The first round pays for connections and for memory touched first.
    return Measured(name, manifest.num_bytes, bare_seconds[1:], publishes[1:])


def _row(measured: Measured) -> list[str]:
    def median(field: str) -> float:
        return float(statistics.median(getattr(report, field) for report in measured.publishes))

    megabytes = measured.num_bytes / 1e6
    bare = megabytes / statistics.median(measured.bare_seconds)
    wire, whole = megabytes / median("receive_seconds"), megabytes / median("transfer_seconds")
    milliseconds = [
        median(field) * 1e3
        for field in ("pause_seconds", "receive_seconds", "load_seconds", "transfer_seconds", "resume_seconds")
    ]
    return [
        measured.name,
        f"{megabytes:.1f}",
        *(f"{value:.1f}" for value in milliseconds),
        f"{wire:.0f}",
        f"{bare:.0f}",
        f"{wire / bare:.2f}",
        f"{whole / bare:.2f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--model", choices=sorted(MODELS), action="append")
    arguments = parser.parse_args()
    table = Table(title=f"A publish over Gloo, medians of {arguments.rounds} alternating rounds")
    for heading in ("model", "MB", "pause ms", "receive ms", "load ms", "transfer ms", "resume ms"):
        table.add_column(heading, justify="right")
    for heading in ("receive MB/s", "bare Gloo MB/s", "receive / bare", "transfer / bare"):
        table.add_column(heading, justify="right")
    for name in arguments.model or list(MODELS):
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(*_row(asyncio.run(_measure(name, arguments.rounds, Path(folder)))))
    console = Console(width=140, record=True)
    console.print(table)
    console.print(
        "receiving a bucket runs beside loading the one before; generation is frozen for pause + transfer + resume"
    )
    write_result("publish", console)


if __name__ == "__main__":
    main()
