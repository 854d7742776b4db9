"""What the guide says of each addition: its reading fits ten minutes, and names what there is."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS_A_MINUTE = 238
"""Silent reading of non-fiction (Brysbaert 2019)."""
MINUTES = 10
SECTIONS = dict(
    re.findall(r"^### (.+?)\n(.*?)(?=^##)", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE | re.DOTALL)
)
WITH_READING = [name for name, text in SECTIONS.items() if "**Read** " in text]


@cache
def definitions(path: Path) -> dict[str, str]:
    """The source of each definition at the top of a module."""
    source = path.read_text()
    found: dict[str, str] = {}
    for node in ast.parse(source).body:
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        names = [getattr(node, "name", None), *(getattr(target, "id", None) for target in targets)]
        text = ast.get_source_segment(source, node) or ""
        found |= {name: text for name in names if name}
    return found


def reading(section: str) -> dict[str, str]:
    """Of a section's list: each text, by what it is named as. Raises KeyError for a name that is not there."""
    found: dict[str, str] = {}
    listed = SECTIONS[section].split("**Read** ")[1].split("\n\n")[0].split(". ")[0]
    for entry in re.findall(r"`([^`]+)`", listed):
        path, _, names = entry.partition(": ")
        if names:
            found |= {f"{path}: {name}": definitions(ROOT / path)[name] for name in names.split(", ")}
        else:
            found[path] = (ROOT / path).read_text()
    return found


def test_the_additions_have_lists_of_what_to_read() -> None:
    assert {"A loss", "An advantage", "A transport", "A stage rule", "A figure in the status"} <= set(WITH_READING)


@pytest.mark.parametrize("section", WITH_READING)
def test_what_an_addition_asks_to_read_takes_less_than_ten_minutes(section: str) -> None:
    words = sum(len(text.split()) for text in (SECTIONS[section], *reading(section).values()))
    assert words <= MINUTES * WORDS_A_MINUTE, f"{words} words: shorten the list, or what it names"


def test_a_loss_and_an_advantage_together_do_too() -> None:
    texts = {**reading("A loss"), **reading("An advantage"), "": SECTIONS["A loss"] + SECTIONS["An advantage"]}
    assert sum(len(text.split()) for text in texts.values()) <= MINUTES * WORDS_A_MINUTE


def test_every_file_that_the_guide_names_is_there() -> None:
    named = set(re.findall(r"`((?:services|clients|tests|deploy|docs)/[\w/.-]+\.\w+)", "".join(SECTIONS.values())))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
