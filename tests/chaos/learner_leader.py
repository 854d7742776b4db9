"""The leading rank of a learner, without the mesh round it: `python -m tests.chaos.learner_leader SETTINGS FOLDER`.

Goes on from a checkpoint of the run, or takes two steps with one between them; writes the weights to FOLDER/weights.pt
and says `stepped`. Then it asks for no more, and waits for a rank to be lost, which it says, or for a line, at which it
stops the ranks.
"""

import select
import sys
import time
from pathlib import Path

import torch

from areal_mesh.learner.ranks import start_ranks
from areal_mesh.runtime.settings import load_settings
from tests.unit.learner_support import make_batch

_LOSS_SECONDS = 120.0


def main(settings: str, folder: str) -> None:
    leader = start_ranks(load_settings(settings))
    for step in range(leader.policy_version, 2):
        leader.step(make_batch(seed=step, version=step))
        if step == 0:
            leader.save_checkpoint(1, "8k")
            leader.wait_for_checkpoint()
    torch.save({name: tensor.clone() for name, tensor in leader.named_tensors()}, Path(folder) / "weights.pt")
    print("stepped", flush=True)
    deadline = time.monotonic() + _LOSS_SECONDS
    while time.monotonic() < deadline:
        if select.select([sys.stdin], [], [], 0.2)[0]:
            leader.stop()
            print("stopped", flush=True)
            return
        try:
            leader.check_followers()
        except RuntimeError as error:
            leader.kill_followers()
            print(f"lost: {error}", flush=True)
            return
    raise SystemExit(f"no rank was lost in {_LOSS_SECONDS:g} s, and nothing was said")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
