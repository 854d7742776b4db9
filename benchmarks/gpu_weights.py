"""What of publishing only GPUs can show: copies to and from pinned memory, buffers and streams, NCCL and its failures.

    python -m benchmarks.gpu_weights [--gib 2]

One GPU is enough for the first three parts, NCCL needs two. What was not run for want of a GPU is said, and has no
figure. This project has had no GPU so far: no part of it has been run, and the failure path of NCCL is tested on CPUs
with a process group that fails like it (`tests/integration/test_weights_nccl_failures.py`).
"""

import argparse
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection

import torch

from areal_mesh.runtime.settings.weights import NcclSettings
from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.manifest import WeightManifest
from areal_mesh.weights.packing import describe
from areal_mesh.weights.receiver import BucketReceiver
from areal_mesh.weights.sender import WeightSender, staged
from areal_mesh.weights.snapshot import Snapshot
from areal_mesh.weights.transport import Wire
from areal_mesh.weights.transports.nccl import Nccl, NcclWire
from areal_mesh.weights.transports.store import StoreMeeting

Tensors = dict[str, torch.Tensor]
TIMEOUT_SECONDS = 30.0
_ROWS = 4096
_ROUNDS = 3


class SameDevice(Wire):
    """Brings a snapshot's bytes to the device without a network."""

    def __init__(self, snapshot: Snapshot, device: torch.device) -> None:
        self.device = device
        fingerprint = torch.frombuffer(bytearray(snapshot.manifest.fingerprint()), dtype=torch.uint8)
        self._coming: Iterator[torch.Tensor] = iter([fingerprint, *snapshot.buckets()])

    def broadcast(self, buffer: torch.Tensor) -> int:
        """It only receives."""
        raise TransferError("nobody is there to receive it")

    def receive(self, buffer: torch.Tensor) -> None:
        """See `Wire`."""
        buffer.copy_(next(self._coming))

    def close(self) -> None:
        """Nothing is held."""


def make_weights(gib: float, device: torch.device) -> Tensors:
    """Matrices of bfloat16, so many GiB in all."""
    torch.manual_seed(0)
    count = max(1, int(gib * 2**30 / (2 * _ROWS * _ROWS)))
    return {f"layer.{index}": torch.randn(_ROWS, _ROWS, device=device).to(torch.bfloat16) for index in range(count)}


def describe_weights(weights: Tensors, version: int) -> WeightManifest:
    """Their manifest, in buckets as NCCL has them."""
    return describe(version, weights.items(), bucket_bytes=NcclSettings().bucket_mib << 20)


def say(name: str, num_bytes: int, begin: float) -> None:
    """One figure, in GB a second."""
    print(f"figure: {name}_gb_per_second {num_bytes / 1e9 / (time.monotonic() - begin):.2f}")


def measure_one_gpu(weights: Tensors, device: torch.device) -> Snapshot:
    """Snapshot to pinned memory, staging back, and receiving into fixed buffers; each has to be exact."""
    manifest, snapshot = describe_weights(weights, 1), Snapshot()
    for _ in range(2):  # the second finds its memory pinned already
        begin = time.monotonic()
        snapshot.fill(manifest, weights.items())
    say("snapshot", manifest.num_bytes, begin)
    begin = time.monotonic()
    for _ in staged(snapshot, device):
        pass
    torch.cuda.synchronize(device)
    say("staging", manifest.num_bytes, begin)
    receiver, kept = BucketReceiver(SameDevice(snapshot, device), manifest), Tensors()
    begin = time.monotonic()
    kept |= dict(receiver.tensors())
    torch.cuda.synchronize(device)
    say("receive", manifest.num_bytes, begin)
    wrong = [name for name, tensor in weights.items() if not torch.equal(kept[name], tensor + 0.0)]
    if wrong:
        raise SystemExit(f"received otherwise than sent: {wrong}")
    return snapshot


def receive_over_nccl(group: Group, gib: float, parent: Connection) -> None:
    """Rank 1, on the second GPU: as many publishes as are asked for; killed in the last."""
    torch.cuda.set_device(1)
    wire = NcclWire(group, 1, 1)
    manifest = describe_weights(make_weights(gib, torch.device("meta")), 1)
    while True:
        for number, _ in enumerate(BucketReceiver(wire, manifest).buckets()):
            if number == 0:
                parent.send("first bucket")
        torch.cuda.synchronize(1)
        parent.send("all")


def measure_nccl(snapshot: Snapshot, gib: float) -> None:
    """Publishes in one group, then a peer that is killed in the middle of one: an error in time, and we live."""
    meeting = StoreMeeting("127.0.0.1")
    group = meeting.open("gpus", 2, TIMEOUT_SECONDS)
    ours, theirs = get_context("spawn").Pipe()
    peer = get_context("spawn").Process(target=receive_over_nccl, args=(group, gib, theirs))
    peer.start()
    sender = WeightSender(Nccl(NcclSettings()), group)
    for number in range(_ROUNDS):
        begin = time.monotonic()
        sender.broadcast(snapshot)
        while ours.recv() != "all":
            pass
        if number:  # the first waits for the join
            say(f"nccl_publish_{number}", snapshot.manifest.num_bytes, begin)
    peer.kill()
    peer.join()
    begin = time.monotonic()
    try:
        sender.broadcast(snapshot)
    except TransferError as error:
        print(f"figure: nccl_dead_peer_seconds {time.monotonic() - begin:.2f}")
        print(f"a dead peer was an error, and this process lives: {error}")
    else:
        raise SystemExit("a broadcast to a dead peer ended without an error")
    sender.close()
    meeting.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gib", type=float, default=2.0, help="GiB of weights")
    arguments = parser.parse_args()
    gpus = torch.cuda.device_count()
    if gpus == 0:
        print("not run: snapshot, staging, receive (no GPU)")
    else:
        device = torch.device("cuda", 0)
        snapshot = measure_one_gpu(make_weights(arguments.gib, device), device)
    if gpus < 2:
        print(f"not run: NCCL (two GPUs are needed, {gpus} found)")
    else:
        measure_nccl(snapshot, arguments.gib)


if __name__ == "__main__":
    main()
