"""The trial's task in TRL's GRPOTrainer, in an environment of TRL's own: a line of JSON a batch of completions.

`benchmarks.learning` runs it. Of the project it imports the grader alone, so that a right answer is the same in both.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from areal_mesh.grading import answer_matches


class Journal(TrainerCallback):  # type: ignore[misc]
    """Prints when training began and what each batch of completions was, and stops at the target."""

    def __init__(self, target: float, window: int) -> None:
        self._target, self._window = target, window
        self._correct: list[bool] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Print the time."""
        print(json.dumps({"began": time.time()}), flush=True)

    def grade(
        self, completions: Sequence[Any], answer: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any
    ) -> list[float]:
        """Reward 1 for a right answer, else 0: TRL's reward function."""
        texts = [completion[0]["content"] for completion in completions]
        correct = [answer_matches(text, gold).correct for text, gold in zip(texts, answer, strict=True)]
        self._correct += correct
        line = {
            "at": time.time(),
            "completions": len(correct),
            "tokens": sum(len(ids) for ids in completion_ids),
            "correct": sum(correct) / len(correct),
        }
        print(json.dumps(line), flush=True)
        return [float(each) for each in correct]

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop once the mean over the window is there."""
        last = self._correct[-self._window :]
        if len(last) == self._window and sum(last) / len(last) >= self._target:
            control.should_training_stop = True


def main() -> None:
    """Train until the target is reached or the batches are through."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="for what TRL writes")
    for name in ("response-tokens", "prompts-a-step", "responses", "updates-a-batch", "batches", "seed", "window"):
        parser.add_argument(f"--{name}", type=int, required=True)
    for name in ("learning-rate", "temperature", "target"):
        parser.add_argument(f"--{name}", type=float, required=True)
    options = parser.parse_args()
    problems = [json.loads(line) for line in options.prompts.read_text(encoding="utf-8").splitlines()]
    rows = [{"prompt": [{"role": "user", "content": each["problem"]}], "answer": each["answer"]} for each in problems]
    journal = Journal(options.target, options.window)
    trainer = GRPOTrainer(
        model=str(options.model),
        reward_funcs=journal.grade,
        args=configuration(options),
        train_dataset=Dataset.from_list(rows),
        callbacks=[journal],
    )
    trainer.train()


def configuration(options: argparse.Namespace) -> GRPOConfig:
    """Everything that is neither of the task nor tried is TRL's default; nothing is saved, logged or checkpointed."""
    batch = options.prompts_a_step * options.responses
    return GRPOConfig(
        output_dir=str(options.folder),
        use_cpu=True,
        bf16=False,
        seed=options.seed,
        max_steps=options.batches * options.updates_a_batch,
        per_device_train_batch_size=batch // options.updates_a_batch,
        steps_per_generation=options.updates_a_batch,
        num_generations=options.responses,
        max_completion_length=options.response_tokens,
        temperature=options.temperature,
        learning_rate=options.learning_rate,
        lr_scheduler_type="constant",
        gradient_checkpointing=False,
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


if __name__ == "__main__":
    main()
