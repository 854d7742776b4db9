"""TRL beside the mesh: its environment, made from a pinned file, and a run in it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from areal_mesh.runtime.settings import RunSettings
from benchmarks.learning_curves import Batch

ROOT = Path(__file__).parents[1]
PINNED = ROOT / "deploy" / "requirements" / "trl.txt"
_SETTING = re.compile(r"(\d+)x(\d+)@([\d.e-]+)(?:/(\d+))?")


@dataclass(frozen=True)
class TrlSetting:
    """What is tried of TRL: the shape of a batch of completions and what is made of it."""

    prompts: int
    responses: int
    learning_rate: float
    updates: int = 1
    """Optimizer steps a batch."""

    @classmethod
    def parse(cls, text: str) -> "TrlSetting":
        """`16x8@1e-4`: 16 prompts, 8 responses each, learning rate 1e-4; `/2` behind it for two updates a batch."""
        found = _SETTING.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r}: write PROMPTSxRESPONSES@RATE or PROMPTSxRESPONSES@RATE/UPDATES")
        prompts, responses, rate, updates = found.groups()
        return cls(int(prompts), int(responses), float(rate), int(updates or 1))

    def __str__(self) -> str:
        text = f"{self.prompts}x{self.responses}@{self.learning_rate:g}"
        return text if self.updates == 1 else f"{text}/{self.updates}"


def python_of_trl(folder: Path) -> Path:
    """Python of an environment with TRL, made in `folder` if it is not there as the pinned file says."""
    python, made_from = folder / "bin" / "python", folder / "pinned.txt"
    if not made_from.exists() or made_from.read_text(encoding="utf-8") != PINNED.read_text(encoding="utf-8"):
        install = str(ROOT / "deploy" / "install.sh")
        subprocess.run([install, str(folder), sys.executable, str(PINNED)], check=True, timeout=3600)
        made_from.write_text(PINNED.read_text(encoding="utf-8"), encoding="utf-8")
    return python


def trl_environment() -> dict[str, str]:
    """Environment of a process of TRL's Python: it finds the project's grader, and asks no hub."""
    return os.environ | {"PYTHONPATH": str(ROOT / "services"), "HF_HUB_OFFLINE": "1"}


def run_trl(
    python: Path, settings: RunSettings, setting: TrlSetting, seed: int, folder: Path, target: float, window: int
) -> tuple[float, list[Batch]]:
    """Trains in TRL until the running accuracy is there; when it began, unix seconds, and its batches.

    Raises RuntimeError with the last lines of a run that failed.
    """
    given = {
        "model": settings.model.folder,
        "prompts": settings.prompts.file,
        "folder": folder,
        "response-tokens": max(stage.max_response_tokens for stage in settings.stages),
        "prompts-a-step": setting.prompts,
        "responses": setting.responses,
        "learning-rate": setting.learning_rate,
        "updates-a-batch": setting.updates,
        "batches": 40_000 // (setting.prompts * setting.responses),
        "temperature": settings.algorithm.temperature,
        "seed": seed,
        "target": target,
        "window": window,
    }
    command = [str(python), str(Path(__file__).with_name("trl_grpo.py"))]
    command += [word for name, value in given.items() for word in (f"--{name}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True, env=trl_environment(), timeout=3600, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-4000:]}")
    return read_lines(done.stdout.splitlines())


def read_lines(lines: Iterable[str]) -> tuple[float, list[Batch]]:
    """The begin and the batches, from what `trl_grpo` prints; lines that are no JSON are TRL's own."""
    found = [json.loads(line) for line in lines if line.startswith('{"')]
    return found[0]["began"], [Batch(**line) for line in found[1:]]
