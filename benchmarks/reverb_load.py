"""The other side of the replay benchmark: dm-reverb's server, and a client that fills and drains it.

A script of an environment of its own, which has dm-reverb and nothing of this project. Its words are `serve`, or
`load PORT GROUPS WAY`, where a way is `writer` or `client`.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import reverb

RESPONSES = 8
TOKENS = 8192
VOCABULARY = 151_936
TABLE = "groups"


def serve() -> None:
    """A table that is a queue, first in first out; says its port on standard output."""
    server = reverb.Server(tables=[reverb.Table.queue(name=TABLE, max_size=1_000_000)])
    os.write(1, b"port %d\n" % server.port)
    server.wait()


def load(port: int, groups: int, way: str) -> None:
    """Inserts and samples groups; prints groups a second of each as JSON."""
    chance = np.random.default_rng(1)
    tokens = chance.integers(0, VOCABULARY, (RESPONSES, TOKENS), dtype=np.int32)
    log_probs = -chance.exponential(0.5, (RESPONSES, TOKENS)).astype(np.float32)
    client = reverb.Client(f"127.0.0.1:{port}")
    client.server_info(timeout=30)
    begun = time.perf_counter()
    _WAYS[way](client, [tokens, log_probs], groups)
    inserted = groups / (time.perf_counter() - begun)
    begun = time.perf_counter()
    drawn = 0
    for sample in client.sample(TABLE, num_samples=groups, emit_timesteps=False):
        assert sample.data[0].size == RESPONSES * TOKENS
        drawn += 1
    assert drawn == groups
    os.write(1, json.dumps({"insert": inserted, "draw": drawn / (time.perf_counter() - begun)}).encode() + b"\n")


def _by_writer(client: Any, data: list[Any], groups: int) -> None:
    with client.trajectory_writer(num_keep_alive_refs=1) as writer:
        for _ in range(groups):
            writer.append(data)
            trajectory = [column[-1:] for column in writer.history]
            writer.create_item(table=TABLE, priority=1.0, trajectory=trajectory)
            writer.flush(block_until_num_items=16)
        writer.flush()


def _by_client(client: Any, data: list[Any], groups: int) -> None:
    for _ in range(groups):
        client.insert(data, priorities={TABLE: 1.0})


_WAYS: dict[str, Callable[[Any, list[Any], int], None]] = {"writer": _by_writer, "client": _by_client}

if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        load(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
