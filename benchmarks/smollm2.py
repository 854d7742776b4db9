"""A real language model on real problems: SmolLM2-135M on GSM8K through the whole mesh on CPU (`make smollm2`).

python -m benchmarks.smollm2 --prompts FILE
"""

import argparse
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.meshrun import MeshRun, run_mesh, write_result


def main() -> None:
    """Runs the preset, loads its export, prints the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--prompts", type=Path, required=True, help="JSONL of problems with answers, such as GSM8K")
    options = arguments.parse_args()
    if not options.prompts.is_file():
        arguments.exit(2, f"{options.prompts}: no such file; name a JSONL of problems with --prompts\n")
    console = Console(record=True, width=110)
    with tempfile.TemporaryDirectory() as folder:
        overrides = (f"prompts.file={options.prompts.resolve()}",)
        run = run_mesh("smollm2-135m-cpu", Path(folder), "smollm2", overrides, deadline_seconds=3600)
        _print(console, run, _parameters_of_export(run.directory))
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
            f"{step['response_length']:.0f}",
            f"{step['truncated']:.2f}",
            f"{step['staleness_mean']:.2f}",
            f"{step['mismatch_kl']:.5f}" if "mismatch_kl" in step else "no fresh tokens",
            f"{step['tokens_trained']:.0f}",
        )
    console.print(table)
    summary = run.summary
    console.print(
        f"{summary['weight_updates']} weight updates, checksums of generator and learner: {summary['checksums']}; "
        f"mismatch_kl {summary['mismatch_kl']:.5f}; {summary['wall_seconds']:.0f} s; "
        f"the export loads in transformers with {parameters:,} parameters"
    )


if __name__ == "__main__":
    main()
