"""A real language model through the whole mesh on CPU: SmolLM2-135M on sums (`make smollm2`).

By default on the preset's own sums, which it sometimes gets right; `--prompts` names other problems.

    python -m benchmarks.smollm2 [--prompts FILE]
"""

import argparse
import tempfile
from pathlib import Path
from statistics import fmean

from rich.console import Console
from rich.table import Table

from areal_mesh.views.figures import plot_training
from benchmarks.meshrun import MeshRun, run_mesh, write_result

_ENDS = 3
"""Steps whose mean is the reward at either end."""
_OTHER_PROBLEMS = (
    "model.recipe.problems=0",
    "model.end_token_ids=[]",
    "prompts.template=chat",
    "prompts.instruction=Please reason step by step, and put your final answer within \\boxed{}.",
    "prompts.max_prompt_tokens=384",
    "stages.0.max_response_tokens=160",
    "stages.0.max_steps=4",
)
"""Problems in words, whose answers take a reasoning."""
_CURVE = Path(__file__).parent / "results" / "smollm2.png"


def main() -> None:
    """Runs the preset, loads its export, prints the table, draws the curve."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--prompts", type=Path, help="JSONL of problems with answers, such as GSM8K")
    options = arguments.parse_args()
    overrides: tuple[str, ...] = ()
    if options.prompts is not None:
        if not options.prompts.is_file():
            arguments.exit(2, f"{options.prompts}: no such file; name a JSONL of problems with --prompts\n")
        overrides = (f"prompts.file={options.prompts.resolve()}", *_OTHER_PROBLEMS)
    console = Console(record=True, width=110)
    with tempfile.TemporaryDirectory() as folder:
        run = run_mesh("smollm2-135m-cpu", Path(folder), "smollm2", overrides, deadline_seconds=3600)
        _print(console, run, _parameters_of_export(run.directory))
        plot_training({"smollm2": run.steps}, [_CURVE], stages=False, window=_ENDS)
    write_result("smollm2", console)


def _parameters_of_export(run_directory: Path) -> int:
    from transformers import AutoModelForCausalLM  # heavy, and not needed for --help

    exports = sorted((run_directory / "checkpoints").glob("export-*"))
    if not exports:
        raise RuntimeError(f"no export in {run_directory / 'checkpoints'}")
    model = AutoModelForCausalLM.from_pretrained(exports[-1])
    return int(model.num_parameters())


def _print(console: Console, run: MeshRun, parameters: int) -> None:
    table = Table("step", "reward", "response length", "truncated", "staleness", "mismatch_kl", "tokens trained")
    for step in run.steps:
        table.add_row(
            str(step["step"]),
            f"{step['reward']:+.2f}",
            f"{step['response_length']:.1f}",
            f"{step['truncated']:.2f}",
            f"{step['staleness_mean']:.2f}",
            f"{step['mismatch_kl']:.5f}" if "mismatch_kl" in step else "no fresh tokens",
            f"{step['tokens_trained']:.0f}",
        )
    console.print(table)
    summary = run.summary
    rewards = [step["reward"] for step in run.steps]
    first, last = fmean(rewards[:_ENDS]), fmean(rewards[-_ENDS:])
    console.print(f"reward {first:+.2f} to {last:+.2f}, means over {_ENDS} steps: {last - first:+.2f}")
    console.print(
        f"{summary['weight_updates']} weight updates, checksums of generator and learner: "
        f"{summary['checksums']}; mismatch_kl {summary['mismatch_kl']:.5f}; {summary['wall_seconds']:.0f} s; "
        f"the export loads in transformers with {parameters:,} parameters"
    )


if __name__ == "__main__":
    main()
