"""A fresh clone as a user has it, and commands typed in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MADE = ".cache"


def fresh_clone(folder: Path) -> Path:
    """A clone of what is committed; models that were made before are copied, for making one takes minutes."""
    clone = folder / "areal-mesh"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=60)
    for made in ("models", "prompts"):
        if (ROOT / MADE / made).is_dir():
            shutil.copytree(ROOT / MADE / made, clone / MADE / made)
    return clone


def environment() -> dict[str, str]:
    """A user's, with the command in front of the path."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AREAL_MESH_")}
    return kept | {"PATH": path}


def typed(script: str, clone: Path, seconds: float) -> str:
    """Types a script into a shell in the clone; what it printed. AssertionError where it fails."""
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=clone,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
