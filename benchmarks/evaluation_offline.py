"""An evaluation scored again by plain `LLM.generate`: prompts by transformers, verdicts by math-verify, none of ours.

Twice: with the evaluation's own seeds, where the responses should be the same, and with others, where the score should
lie within the interval.

    python -m benchmarks.evaluation_offline EVALUATION MODEL SUITE.jsonl
"""

import argparse
import json
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table

from areal_mesh.evaluation.responses import REFUSED, Response, read_responses
from benchmarks.meshrun import write_result

_OTHER_SEEDS = 1_000_003


def main() -> None:
    """Prints the comparison."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("evaluation", type=Path)
    arguments.add_argument("model", type=Path)
    arguments.add_argument("suite", type=Path)
    arguments.add_argument("--name", default="evaluation_offline", help="of the file in benchmarks/results")
    options = arguments.parse_args()
    [row] = [
        row
        for row in json.loads((options.evaluation / "results.json").read_text())["results"]
        if row["suite"] == options.suite.stem
    ]
    asked = json.loads((options.evaluation / "evaluation.json").read_text())["checkpoints"][row["checkpoint"]]
    kept = [
        response
        for response in read_responses(options.evaluation / "responses.jsonl")
        if (response.key.checkpoint, response.key.suite) == (row["checkpoint"], row["suite"])
        and response.finish_reason != REFUSED
    ]
    offline = Offline(options.model, options.suite, asked)
    same = offline.texts(kept, [response.seed for response in kept])
    other = offline.texts(kept, [response.seed % 2**31 + _OTHER_SEEDS for response in kept])
    console = Console(record=True, width=110)
    table = Table("scored by", "pass@1", "95 % interval", "responses", "the same text")
    interval = f"{row['low']:.4f} to {row['high']:.4f}"
    table.add_row("areal-mesh eval", f"{row['pass_at_1']:.4f}", interval, str(len(kept)), "")
    alike = sum(text == response.text for text, response in zip(same, kept, strict=True))
    refused = row["refused"]
    table.add_row("LLM.generate, its seeds", f"{score(kept, same, refused):.4f}", "", str(len(kept)), str(alike))
    table.add_row("LLM.generate, other seeds", f"{score(kept, other, refused):.4f}", "", str(len(kept)), "")
    console.print(table)
    write_result(options.name, console)


class Offline:
    """vLLM's own engine on a model folder, and the prompts of a suite."""

    def __init__(self, model: Path, suite: Path, asked: dict[str, Any]) -> None:
        os.environ |= {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "TORCHDYNAMO_DISABLE": "1"}
        from transformers import AutoTokenizer
        from vllm import LLM

        self._asked = asked
        self._tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._engine: Any = LLM(
            model=str(model),
            dtype=asked["dtype"],
            enforce_eager=True,
            generation_config="vllm",
            kv_cache_memory_bytes=1 << 29,
            block_size=32,
        )
        rows = [json.loads(line) for line in suite.read_text().splitlines()]
        self._problems = {row["id"]: row["problem"] for row in rows}

    def _prompt(self, problem: str) -> list[int]:
        """Token ids of a prompt, as the evaluation says that prompts are made."""
        prompts = self._asked["prompts"]
        content = f"{problem}\n{prompts['instruction']}" if prompts["instruction"] else problem
        if prompts["template"] == "chat":
            message = [{"role": "user", "content": content}]
            text = self._tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        else:
            text = prompts["template"].replace("{problem}", content)
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def texts(self, kept: Sequence[Response], seeds: Sequence[int]) -> list[str]:
        """A response to the problem of each of these, with a seed of its own."""
        from vllm import SamplingParams, TokensPrompt

        prompts, params = [], []
        for response, seed in zip(kept, seeds, strict=True):
            ids = self._prompt(self._problems[response.key.problem_id])
            prompts.append(TokensPrompt(prompt_token_ids=ids))
            params.append(
                SamplingParams(
                    temperature=self._asked["temperature"],
                    top_p=self._asked["top_p"],
                    max_tokens=self._asked["max_response_tokens"],
                    seed=seed,
                    stop_token_ids=self._asked["end_token_ids"],
                )
            )
        outputs = self._engine.generate(prompts, params, use_tqdm=False)
        return [self._tokenizer.decode(output.outputs[0].token_ids, skip_special_tokens=True) for output in outputs]


def score(kept: Sequence[Response], texts: Sequence[str], refused: int) -> float:
    """Mean over problems of the share of right samples, graded by math-verify; refused problems are not solved."""
    from math_verify import parse, verify

    right: dict[str, list[bool]] = defaultdict(list)
    for response, text in zip(kept, texts, strict=True):
        golds = [parse(f"\\boxed{{{gold}}}") for gold in response.golds]
        answer = parse(text) if "\\boxed" in text else []
        right[response.key.problem_id].append(any(verify(gold, answer) for gold in golds))
    return sum(fmean(verdicts) for verdicts in right.values()) / (len(right) + refused)


if __name__ == "__main__":
    main()
