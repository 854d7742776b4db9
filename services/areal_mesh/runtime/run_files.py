"""The settings that a run keeps in its directory: what it goes on with, and what every command that reads it asks."""

import json
import os
from pathlib import Path
from typing import Any

SETTINGS_FILE = "settings.json"


def keep_settings(folder: Path, settings: Any) -> None:
    """Writes the settings, as `RunSettings` dumps them for JSON, to a run's directory: whole, or as they were.

    Raises:
        OSError: the directory takes no file.
    """
    file = folder / SETTINGS_FILE
    aside = file.with_name(f".{SETTINGS_FILE}.new")
    aside.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(aside, file)
