"""How long a publish freezes generation, and how near its transfer comes to the wire.

    python -m benchmarks.publish [--rounds N] [--model small|smollm2|gigabyte] [--generators N] [--transport gloo|ipc]

One learner process and one engine or several, on the loopback interface. Rounds alternate: a bare Gloo broadcast of the
same tensors, one call a tensor into memory that is there already, between processes that do nothing else; then a whole
publish over the transport named into vLLM engines that are generating, in the group that they joined in the first
round. Medians over rounds are printed, of several engines the slowest in each. After the last round each engine's
checksums must equal the sender's.

The snapshot is all that a publish costs the learner: its weights are copied, and it trains on.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
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
from areal_mesh.runtime.environment import tune_allocator
from areal_mesh.runtime.settings import RunSettings, load_settings
from areal_mesh.weights.engine_digests import ModelLayout, engine_digests
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe, torch_dtype
from areal_mesh.weights.sender import WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transports.gloo import GlooWire
from areal_mesh.weights.transports.store import StoreMeeting
from areal_mesh.weights.transports.table import build_transport
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
    "gigabyte": (
        Qwen2Config(
            vocab_size=32000,
            hidden_size=1024,
            intermediate_size=4096,
            num_hidden_layers=31,
            num_attention_heads=16,
            num_key_value_heads=4,
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
    transport: str
    generators: int
    num_bytes: int
    step_seconds: float
    """A decode step of the load, all engines at it."""
    bare_seconds: list[float]
    snapshot_seconds: list[float]
    publishes: list[list[PublishReport]]
    """By round, by engine."""


def _receive_bare(group: Group, rank: int, manifest: WeightManifest, rounds: Connection) -> None:
    tune_allocator()
    wire = GlooWire(group, rank)
    targets = [torch.empty(spec.num_bytes, dtype=torch.uint8) for spec in manifest.tensors]
    while rounds.recv():
        for target in targets:
            wire.receive(target)
        rounds.send(True)
    wire.close()


@contextmanager
def _bare_peers(group: Group, manifest: WeightManifest) -> Iterator[list[Connection]]:
    context, peers, processes = get_context("spawn"), [], []
    for rank in range(1, group.world_size):
        ours, theirs = context.Pipe()
        peers.append(ours)
        processes.append(context.Process(target=_receive_bare, args=(group, rank, manifest, theirs)))
        processes[-1].start()
    try:
        yield peers
        for peer in peers:
            peer.send(False)
        for process in processes:
            process.join(TIMEOUT_SECONDS)
    finally:
        for process in processes:
            process.kill()


def _broadcast_bare(wire: GlooWire, peers: list[Connection], tensors: list[torch.Tensor]) -> float:
    """Seconds until every peer holds every tensor."""
    for peer in peers:
        peer.send(True)
    begin = time.monotonic()
    for tensor in tensors:
        wire.broadcast(tensor.contiguous().view(-1).view(torch.uint8))
    for peer in peers:
        peer.recv()
    return time.monotonic() - begin


async def _start(generators: int, folder: Path, dtype: str, transport: str) -> list[Engine]:
    """One engine with all cores, or several with one each, in turn, as the trial's has."""
    ours, engines = os.sched_getaffinity(0), []
    for cores in ["none"] if generators == 1 else [f"[{index}]" for index in range(generators)]:
        engines.append(await Engine.start(_run(folder, dtype, transport, cores), [NEVER], initial_version=0))
        # An engine takes its core from the process that starts it.
        os.sched_setaffinity(0, ours)
    return engines


async def _publish(engines: list[Engine], sender: WeightSender, snapshot: Snapshot) -> list[PublishReport]:
    """One publish into engines that generate, in a group that is joined already after the first."""
    await asyncio.gather(*(engine.prepare(sender.group, rank) for rank, engine in enumerate(engines, start=1)))
    async with asyncio.TaskGroup() as tasks:
        for index, engine in enumerate(engines):
            tasks.create_task(engine.generate([3, 4, 5], SAMPLING, f"load-{snapshot.manifest.version}-{index}"))
        tasks.create_task(asyncio.to_thread(sender.broadcast, snapshot))
        received = [tasks.create_task(engine.transfer(snapshot.manifest)) for engine in engines]
    return [report.result() for report in received]


async def _decode_step(engines: list[Engine]) -> float:
    """Seconds of a decode step of the load, without a publish, while every engine has it."""
    await asyncio.gather(*(engine.generate([3, 4, 5], SAMPLING, "warm") for engine in engines))
    begin = time.monotonic()
    await asyncio.gather(*(engine.generate([3, 4, 5], SAMPLING, "steps") for engine in engines))
    return (time.monotonic() - begin) / SAMPLING.max_response_tokens


def _snapshot(snapshot: Snapshot, version: int, model: torch.nn.Module, bucket_bytes: int) -> float:
    """Takes the version's snapshot; returns the seconds."""
    begin = time.monotonic()
    manifest = describe(version, model.named_parameters(), bucket_bytes=bucket_bytes)
    snapshot.fill(manifest, model.named_parameters())
    return time.monotonic() - begin


def _run(folder: Path, dtype: str, transport: str, engine_cores: str = "none") -> RunSettings:
    """The trial on the model in `folder`, of 512 tokens of prompt and response together."""
    small = ("model.recipe=none", "prompts.max_prompt_tokens=392", f"generator.engine_cores={engine_cores}")
    ways = (
        f"weights.transport.type={transport}",
        *([f"weights.transport.folder={folder}"] if transport == "ipc" else []),
    )
    return load_settings("trial", [*small, *ways, f"model.folder={folder}", f"model.dtype={dtype}"])


async def _measure(name: str, transport: str, generators: int, rounds: int, folder: Path) -> Measured:
    config, dtype = MODELS[name]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).to(torch_dtype(dtype)).requires_grad_(False)
    model.save_pretrained(folder)
    store = StoreMeeting("127.0.0.1")
    tensors = [tensor for _, tensor in model.named_parameters()]
    manifest = describe(0, model.named_parameters())
    settings = _run(folder, dtype, transport)
    engines = await _start(generators, folder, dtype, transport)
    measured = Measured(name, transport, generators, manifest.num_bytes, await _decode_step(engines), [], [], [])
    carrier, bucket_bytes = build_transport(settings.weights.transport), settings.weights.transport.bucket_mib << 20
    snapshot = Snapshot(shared=settings.weights.transport.lends)
    meeting = carrier.host("127.0.0.1")
    sender = WeightSender(carrier, meeting.open("members", 1 + generators, TIMEOUT_SECONDS))
    bare = store.open("bare", 1 + generators, TIMEOUT_SECONDS)
    with _bare_peers(bare, manifest) as peers:
        wire = await asyncio.to_thread(GlooWire, bare, 0)
        for version in range(rounds + 1):
            measured.bare_seconds.append(await asyncio.to_thread(_broadcast_bare, wire, peers, tensors))
            measured.snapshot_seconds.append(_snapshot(snapshot, version, model, bucket_bytes))
            measured.publishes.append(await _publish(engines, sender, snapshot))
    layout = ModelLayout.from_config(config.to_dict())
    expected = [engine_digests(model.named_parameters(), layout, torch_dtype(dtype))]
    for engine in engines:
        if await engine.digests() != expected:
            raise SystemExit(f"{name}: an engine's checksums are not the sender's")
        engine.shutdown()
    sender.close()
    meeting.close()
    # The first round pays for connections and for memory touched first.
    for seen in (measured.bare_seconds, measured.snapshot_seconds, measured.publishes):
        del seen[0]
    return measured


def _figures(measured: Measured) -> dict[str, float]:
    """Medians, in milliseconds, and the two shares of a bare broadcast's speed."""

    def median(field: str) -> float:
        slowest = [max(getattr(report, field) for report in reports) for reports in measured.publishes]
        return 1e3 * float(statistics.median(slowest))

    names = ("pause", "receive", "load", "transfer", "resume")
    milliseconds = {name: median(f"{name}_seconds") for name in names}
    bare = 1e3 * statistics.median(measured.bare_seconds)
    return milliseconds | {
        "step": 1e3 * measured.step_seconds,
        "snapshot": 1e3 * statistics.median(measured.snapshot_seconds),
        "bare": bare,
        "receive_over_bare": bare / milliseconds["receive"],
        "transfer_over_bare": bare / milliseconds["transfer"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--model", choices=sorted(MODELS), action="append")
    parser.add_argument("--generators", type=int, action="append", help="how many engines; may be given more than once")
    parser.add_argument("--transport", choices=("gloo", "ipc"), action="append")
    arguments = parser.parse_args()
    tune_allocator()
    table = Table(title=f"A publish beside a bare Gloo broadcast, medians of {arguments.rounds} alternating rounds")
    columns = ("step", "snapshot", "pause", "receive", "load", "transfer", "resume", "bare")
    for heading in ("model", "MB", "over", "generators", *(f"{name} ms" for name in columns)):
        table.add_column(heading, justify="right")
    for heading in ("receive / bare", "transfer / bare"):
        table.add_column(heading, justify="right")
    said: list[str] = []
    for name in arguments.model or list(MODELS):
        for transport, generators in product(arguments.transport or ["gloo", "ipc"], arguments.generators or [1]):
            with tempfile.TemporaryDirectory() as folder:
                measured = asyncio.run(_measure(name, transport, generators, arguments.rounds, Path(folder)))
            figures = _figures(measured)
            shares = (f"{figures[f'{kind}_over_bare']:.2f}" for kind in ("receive", "transfer"))
            values = (f"{figures[column]:.1f}" for column in columns)
            table.add_row(name, f"{measured.num_bytes / 1e6:.1f}", transport, str(generators), *values, *shares)
            case = f"{name}_{transport}_{generators}"
            said += [f"figure: {figure}_{case} {value:.3f}" for figure, value in figures.items()]
    console = Console(width=160, record=True)
    console.print(table)
    console.print(
        "receiving a bucket runs beside loading the one before; generation is frozen for pause + transfer + resume,\n"
        "of which 20 ms are a wait of vLLM's own; the snapshot is all that the learner waits for; step: a decode step"
    )
    write_result("publish", console)
    print("\n".join(said))


if __name__ == "__main__":
    main()
