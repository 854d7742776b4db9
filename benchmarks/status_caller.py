"""A person who looks at the status ten times a second, in a process of their own.

In the process that plays hundreds of members, an answer would wait for its turn in that process's event loop, and the
controller would be blamed for it.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import grpc

from areal_mesh.v1 import status_pb2, status_pb2_grpc

_EVERY_SECONDS = 0.1
_CALL_SECONDS = 120.0


class StatusCaller:
    """The process, from the outside."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def taken(self) -> list[float]:
        """Seconds of each call that was answered since the last time this was asked."""
        self._pipe.send(None)
        if not self._pipe.poll(_CALL_SECONDS):
            raise TimeoutError(f"the process that asks for the status did not answer in {_CALL_SECONDS:g} s")
        seconds: list[float] = self._pipe.recv()
        return seconds


@contextmanager
def status_caller(address: str, cores: list[int]) -> Iterator[StatusCaller]:
    """The process, on `cores`, asking the controller at `address`; ended when left."""
    ours, theirs = get_context("spawn").Pipe()
    process = get_context("spawn").Process(target=_ask, args=(address, cores, theirs), daemon=True)
    process.start()
    try:
        yield StatusCaller(ours)
    finally:
        process.kill()
        process.join()


def _ask(address: str, cores: list[int], pipe: Connection) -> None:
    os.sched_setaffinity(0, cores)
    seconds: list[float] = []
    with grpc.insecure_channel(address) as channel:
        stub = status_pb2_grpc.StatusServiceStub(channel)
        while True:
            began = time.perf_counter()
            stub.GetStatus(status_pb2.GetStatusRequest(), timeout=_CALL_SECONDS, wait_for_ready=True)
            seconds.append(time.perf_counter() - began)
            while pipe.poll(max(0.0, began + _EVERY_SECONDS - time.perf_counter())):
                pipe.recv()
                pipe.send(seconds)
                seconds = []
