#!/usr/bin/env python3
"""Prints what one reads to add a thing of a kind: the guide's words on it, and each text that its list names.

    python3 deploy/addition.py                      the kinds there are
    python3 deploy/addition.py 'A loss' [KIND ...]  all there is to read for these

The lists stand in CONTRIBUTING.md, after **Read**: a file, or `file: the definitions of it` (`imports`: all of those).
"""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
_GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
COMMON = "Every addition"
SECTIONS: dict[str, str] = dict(re.findall(r"^###? (.+?)\n(.*?)(?=^##)", _GUIDE, flags=re.MULTILINE | re.DOTALL))
WITH_READING = [name for name, text in SECTIONS.items() if "**Read** `" in text]


def definitions(path: Path) -> dict[str, str]:
    """The source of each definition at the top of a module, with the text under it that says what it is."""
    source = path.read_text()
    found: dict[str, str] = {}
    names: list[str] = []
    for node in ast.parse(source).body:
        text = _segment(source, node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            found["imports"] = f"{found.get('imports', '')}{text}\n"
        if isinstance(node, ast.Expr):
            found |= {name: f"{found[name]}\n{text}" for name in names}
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        given = [getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)]
        names = [name for name in given if name]
        found |= dict.fromkeys(names, text)
    return found


def _segment(source: str, node: ast.stmt) -> str:
    """The node's lines, its decorators among them."""
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
    return "\n".join(source.splitlines()[first - 1 : node.end_lineno])


def listed(kind: str) -> dict[str, str]:
    """Of a kind's list: each text, by what it is named as. Raises KeyError for a name that is not there."""
    found: dict[str, str] = {}
    entries = SECTIONS[kind].split("**Read** ")[1].split("\n\n")[0].split(". ")[0]
    for entry in re.findall(r"`([^`]+)`", entries):
        path, _, names = entry.partition(": ")
        if names:
            found |= {f"{path}: {name}": definitions(ROOT / path)[name] for name in names.split(", ")}
        else:
            found[path] = (ROOT / path).read_text()
    return found


def reading(*kinds: str) -> dict[str, str]:
    """All there is to read for additions of these kinds, each text once: the guide's words first."""
    texts = {f"CONTRIBUTING.md: {kind}": SECTIONS[kind] for kind in (COMMON, *kinds)}
    for kind in kinds:
        texts |= listed(kind) if kind in WITH_READING else {}
    return texts


def main(kinds: list[str]) -> str:
    """The text to print. Raises SystemExit for a kind that is none."""
    known = [name for name in SECTIONS if f"### {name}\n" in _GUIDE and name != COMMON]
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise SystemExit(f"no addition is called {', '.join(unknown)}; there are: {', '.join(known)}")
    if not kinds:
        return "\n".join(known)
    return "\n".join(f"==== {name}\n\n{text.strip()}\n" for name, text in reading(*kinds).items())


if __name__ == "__main__":
    print(main(sys.argv[1:]))
