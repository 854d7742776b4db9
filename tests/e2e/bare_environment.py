"""The least that a mesh has to get by with, as an environment of its process."""

import os
import re
import tempfile
from pathlib import Path

_COMPILERS = re.compile(r"(.*-)?(cc|c\+\+|gcc|g\+\+|clang|clang\+\+|cpp|ld|tcc|c[89]9|c[89]9-gcc)(-[0-9.]+)?")
_PYTHONS = re.compile(r"(python|pypy|uv|pip)[0-9.]*x?")
_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin")
NOWHERE = "http://127.0.0.1:9"
PROXIES = {name: NOWHERE for stem in ("http", "https", "all") for name in (f"{stem}_proxy", f"{stem}_proxy".upper())}


def tools_without_compilers(folder: Path, python: Path | None = None) -> Path:
    """A folder for a PATH: this machine's commands but for compilers and Pythons; `python`, if given, as `python3`."""
    folder.mkdir(parents=True)
    for source in map(Path, _FOLDERS):
        for command in source.iterdir() if source.is_dir() else ():
            named = folder / command.name
            hidden = _COMPILERS.fullmatch(command.name) or _PYTHONS.fullmatch(command.name)
            if not hidden and not named.is_symlink():
                named.symlink_to(command)
    if python is not None:
        (folder / "python3").symlink_to(python)
    return folder


def bare_environment(path: Path) -> dict[str, str]:
    """Nothing of a user's environment: no compiler, a dumb terminal, no locale, a proxy that leads nowhere."""
    return {"HOME": tempfile.gettempdir(), "PATH": os.fspath(path), "TERM": "dumb", "LC_ALL": "C"} | PROXIES
