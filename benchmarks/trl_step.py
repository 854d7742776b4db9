"""Steps of TRL's GRPOTrainer on a given batch, in an environment of TRL's own; `benchmarks.learner` runs it.

Each line on the standard input is one step: the batch's minibatches, an update each. Its seconds are printed as JSON.
What stands in for sampling is instant, so that a step is TRL's training alone.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class Steps(TrainerCallback):  # type: ignore[misc]
    """Waits for the word before a batch's first update, and says what the batch took after its last."""

    def __init__(self, updates: int) -> None:
        self._updates, self._begun = updates, 0.0

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Wait."""
        if state.global_step % self._updates == 0:
            if not sys.stdin.readline():
                raise SystemExit(0)
            self._begun = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Say."""
        if state.global_step % self._updates == 0:
            print(json.dumps({"seconds": time.perf_counter() - self._begun}), flush=True)


class OnGivenRollouts(GRPOTrainer):  # type: ignore[misc]
    """GRPOTrainer whose rollouts are those of a file."""

    rollouts: dict[str, Tensor]

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Tensor]:
        return dict(self.rollouts)


def read(path: Path) -> dict[str, Tensor]:
    """The batch as TRL's trainer has it after sampling: prompts padded to the left, completions to the right."""
    given = json.loads(path.read_text())
    prompts = [torch.tensor(each["prompt"]).flip(0) for each in given]
    completions = [torch.tensor(each["response"]) for each in given]
    ones = [[torch.ones_like(ids) for ids in side] for side in (prompts, completions)]
    return {
        "prompt_ids": pad_sequence(prompts, batch_first=True).flip(1),
        "prompt_mask": pad_sequence(ones[0], batch_first=True).flip(1),
        "completion_ids": pad_sequence(completions, batch_first=True),
        "completion_mask": pad_sequence(ones[1], batch_first=True),
        "advantages": torch.tensor([each["advantage"] for each in given]),
        "old_per_token_logps": pad_sequence([torch.tensor(each["log_probs"]) for each in given], batch_first=True),
        "num_items_in_batch": torch.tensor(sum(len(each["response"]) for each in given)),
    }


def main() -> None:
    """Train until the standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("model", "rollouts", "folder"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for name in ("updates", "responses", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--loss", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rollouts = read(options.rollouts)
    size = rollouts["advantages"].numel()
    arguments = GRPOConfig(
        output_dir=str(options.folder),
        use_cpu=True,
        bf16=False,
        max_steps=1_000_000,
        per_device_train_batch_size=size // options.updates,
        steps_per_generation=options.updates,
        num_generations=options.responses,
        loss_type=options.loss,
        learning_rate=1e-6,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = OnGivenRollouts(
        model=str(options.model),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=arguments,
        train_dataset=Dataset.from_list([{"prompt": "1"}] * size),
        callbacks=[Steps(options.updates)],
    )
    trainer.rollouts = rollouts
    trainer.train()


if __name__ == "__main__":
    main()
