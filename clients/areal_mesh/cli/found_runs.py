"""What a run leaves in its directory, looked at without reading its settings, which takes half a second of imports."""

import json
from pathlib import Path
from typing import Any

from areal_mesh.runtime.run_files import SETTINGS_FILE

SUMMARY_FILE = "summary.json"
SETUP_FILE = "setup.json"
LEDGER_FILE = "ledger.db"


def read_summary(path: Path) -> dict[str, Any] | None:
    """The summary, or None where there is none yet."""
    if not path.is_file():
        return None
    summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return summary


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's: by its ledger, or by settings that are a run's and no other program's."""
    if (folder / LEDGER_FILE).is_file():
        return True
    try:
        settings = json.loads((folder / SETTINGS_FILE).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and settings.keys() >= {"name", "stages", "model", "prompts"}


def finished_summary(folder: Path) -> dict[str, Any] | None:
    """The summary of a run whose schedule is complete; None for any other."""
    summary = read_summary(folder / SUMMARY_FILE)
    return summary if summary is not None and summary.get("finished") else None
