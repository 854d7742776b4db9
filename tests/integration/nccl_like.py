"""A member of a group over NCCL, run as a process, with a process group that fails the way NCCL's does, on a CPU.

    python -m tests.integration.nccl_like ENDPOINT RANK raised|left-alone

`ProcessGroupNCCL` reads its environment when it is made. By default a failed collective is no error where it is waited
for: a watchdog thread ends the process (std::terminate). With blocking waits and no handling `wait` raises instead.
Rank 1 dies in the middle of a publish; rank 0 says what became of its broadcast.
"""

import os
import sys
import threading
from contextlib import nullcontext
from typing import Any

import torch
from torch.distributed import distributed_c10d
from torch.distributed.distributed_c10d import ProcessGroupGloo

from areal_mesh.weights.errors import TransferError
from areal_mesh.weights.group import Group
from areal_mesh.weights.transports import nccl

ENDED_BY_WATCHDOG = 134


class Work:
    """A collective under way on a thread, as on a stream."""

    def __init__(self, run: Any, group: "NcclLike") -> None:
        self._error: RuntimeError | None = None
        self._group = group
        self._thread = threading.Thread(target=self._go, args=(run,), daemon=True)
        self._thread.start()

    def _go(self, run: Any) -> None:
        try:
            run()
        except RuntimeError as error:
            self._error = error
            if self._group.tears_down:
                os._exit(ENDED_BY_WATCHDOG)

    def wait(self, timeout: Any) -> None:
        if not self._group.blocking:
            return  # the host goes on, and hears of no error
        self._thread.join(timeout.total_seconds())
        if self._thread.is_alive():
            raise RuntimeError("Watchdog caught collective operation timeout")
        if self._error is not None:
            raise RuntimeError(f"NCCL communicator was aborted: {self._error}")


class NcclLike:
    """Of `ProcessGroupNCCL`, what the wire uses; Gloo carries the bytes."""

    class Options:
        _timeout: Any = None

    def __init__(self, store: Any, rank: int, size: int, options: Options) -> None:
        self.blocking = os.environ.get("TORCH_NCCL_BLOCKING_WAIT", "0") == "1"
        handling = int(os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", "3"))
        self.tears_down = not self.blocking and handling in (1, 3)
        own = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
        own._timeout = options._timeout
        own._devices = [ProcessGroupGloo.create_device(hostname="127.0.0.1")]
        self._gloo: Any = ProcessGroupGloo(store, rank, size, own)

    def broadcast(self, buffers: list[torch.Tensor], options: Any) -> Work:
        return Work(lambda: self._gloo.broadcast(buffers, options).wait(options.timeout), self)

    def abort(self) -> None:
        """Gives the communicator up."""


def main() -> None:
    endpoint, rank, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.cuda.is_available = lambda: True
    torch.cuda.set_device = lambda device: None
    nccl.cuda_device = lambda index: torch.device("cpu")
    distributed_c10d.ProcessGroupNCCL = NcclLike  # type: ignore[misc, assignment]
    if mode == "left-alone":
        nccl.errors_are_raised = nullcontext  # type: ignore[assignment]
    wire = nccl.NcclWire(Group("members", endpoint, 2, 10.0), rank, 0)
    assert not any(name.startswith("TORCH_NCCL") for name in os.environ), "other groups of the process keep theirs"
    buffer = torch.zeros(32 << 20, dtype=torch.uint8)
    if rank == 1:
        wire.receive(buffer[:1024])
        os._exit(0)
    try:
        wire.broadcast(buffer[:1024])
        for _ in range(3):
            wire.broadcast(buffer)
    except TransferError as error:
        wire.close()
        print(f"raised: {error}", flush=True)
        # Gloo's threads, which carry the bytes here, may be at their end just now, and then take the interpreter along.
        os._exit(0)
    threading.Event().wait(20)  # its work goes on without it
    print("nothing was raised")


if __name__ == "__main__":
    main()
