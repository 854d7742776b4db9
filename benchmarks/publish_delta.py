"""How much of a version travels over `weights.transport.type = "delta"`, and whether it arrives to the bit.

    python -m benchmarks.publish_delta [--versions N] [--lr 1e-6]

SmolLM2-135M (its real weights) is trained with AdamW at a constant learning rate on the preset's own sums, in float32
with what is published in bfloat16, as the learner does. Each version is published twice to a process of its own: over
Gloo, and over Gloo by `delta`; the process answers with the SHA-256 of what it holds after each.
"""

import argparse
import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from transformers import AutoModelForCausalLM, AutoTokenizer

from areal_mesh.recipes.smollm2 import convert
from areal_mesh.runtime.environment import tune_allocator
from areal_mesh.runtime.settings.weights import DeltaSettings, GlooSettings, TransportSettings
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.sender import TransferReport, WeightSender
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transports.table import build_transport
from benchmarks.meshrun import write_result

_TIMEOUT_SECONDS = 60.0
_WAYS: dict[str, TransportSettings] = {"gloo": GlooSettings(), "delta": DeltaSettings(over=GlooSettings())}


def _digest(buckets: Iterable[torch.Tensor]) -> str:
    found = hashlib.sha256()
    for bucket in buckets:
        found.update(bucket.numpy().data)
    return found.hexdigest()


def _hold(settings: TransportSettings, group: Group, told: Connection) -> None:
    """Another process: receives each manifest that it is told of, and says what it holds."""
    tune_allocator()
    wire = build_transport(settings).join(group, 1)
    while (manifest := told.recv()) is not None:
        receiver = BucketReceiver(wire, manifest)
        digest = _digest([buffer for _, buffer in receiver.buckets()])
        receiver.release()
        told.send(digest)
    wire.close()


@contextmanager
def _member(way: str) -> Iterator[tuple[WeightSender, Connection]]:
    """A learner's end, and a process that receives."""
    transport = build_transport(_WAYS[way])
    meeting = transport.host("127.0.0.1")
    group = meeting.open(way, 2, _TIMEOUT_SECONDS)
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_hold, args=(_WAYS[way], group, theirs))
    process.start()
    sender = WeightSender(transport, group)
    try:
        yield sender, ours
        ours.send(None)
        process.join(_TIMEOUT_SECONDS)
    finally:
        sender.close()
        meeting.close()
        process.kill()


def _publish(sender: WeightSender, member: Connection, snapshot: Snapshot) -> TransferReport:
    """One version. Raises SystemExit where the member does not hold it to the bit."""
    member.send(snapshot.manifest)
    report = sender.broadcast(snapshot)
    if not member.poll(_TIMEOUT_SECONDS) or member.recv() != _digest(snapshot.buckets()):
        raise SystemExit(f"version {snapshot.manifest.version}: what arrived is not what was sent")
    return report


def _training(folder: Path, rate: float) -> Iterator[dict[str, torch.Tensor]]:
    """The weights before the first step and after each, in float32."""
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = tokenizer.eos_token
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.05)
    seeded = torch.Generator().manual_seed(0)
    yield dict(model.named_parameters())
    while True:
        terms = torch.randint(1, 10, (16, 2), generator=seeded).tolist()
        texts = [f"What is {first} + {second}? The answer is {first + second}." for first, second in terms]
        batch = tokenizer(texts, return_tensors="pt", padding=True)
        model(**batch, labels=batch["input_ids"]).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        yield dict(model.named_parameters())


def _manifest(version: int, weights: dict[str, torch.Tensor]) -> WeightManifest:
    return describe(version, weights.items(), dtype="bfloat16", bucket_bytes=GlooSettings().bucket_mib << 20)


def main() -> None:
    """Trains, publishes, prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--versions", type=int, default=12)
    arguments.add_argument("--lr", type=float, default=1e-6)
    options = arguments.parse_args()
    tune_allocator()
    table = Table(title=f"SmolLM2-135M trained at lr {options.lr:g}, published in bfloat16")
    for heading in ("version", "MB", "MB by delta", "share", "whole s", "delta s"):
        table.add_column(heading, justify="right")
    shares: list[float] = []
    with tempfile.TemporaryDirectory() as folder, _member("gloo") as whole, _member("delta") as delta:
        convert(Path(folder) / "model")
        snapshot = Snapshot()
        for version, weights in zip(
            range(options.versions + 1), _training(Path(folder) / "model", options.lr), strict=False
        ):
            snapshot.fill(_manifest(version, weights), weights.items())
            plain, changed = _publish(*whole, snapshot), _publish(*delta, snapshot)
            sent, less = plain.sent_bytes, changed.sent_bytes
            shares.append(less / sent)
            print(f"version {version}: {shares[-1]:.3f}", flush=True)
            seconds = (f"{plain.seconds:.2f}", f"{changed.seconds:.2f}")
            table.add_row(str(version), f"{sent / 1e6:.1f}", f"{less / 1e6:.2f}", f"{less / sent:.3f}", *seconds)
    console = Console(record=True, width=110)
    console.print(table)
    console.print("version 0 is the first of its group, and whole; seconds are those of sending, one core at each end")
    console.print(f"every version arrived to the bit, both ways (SHA-256 of all {len(shares)})")
    write_result("publish_delta", console)
    print(f"figure: delta_bytes_share {median(shares[1:]):.4f}\nfigure: delta_bytes_share_worst {max(shares[1:]):.4f}")


if __name__ == "__main__":
    main()
