"""What the guide says of each addition: its reading fits ten minutes, and names what there is."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "deploy" / "addition.py"
WORDS_A_MINUTE = 238
"""Silent reading of non-fiction (Brysbaert 2019)."""
MINUTES = 10

_spec = importlib.util.spec_from_file_location("addition", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
addition = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(addition)


def show(*kinds: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, SCRIPT, *kinds], capture_output=True, text=True, timeout=60)


def test_the_additions_have_lists_of_what_to_read() -> None:
    assert {"A loss", "An advantage", "A transport", "A stage rule", "A figure in the status"} <= set(
        addition.WITH_READING
    )


@pytest.mark.parametrize("kinds", [*([kind] for kind in addition.WITH_READING), ["A loss", "An advantage"]])
def test_what_an_addition_asks_to_read_takes_less_than_ten_minutes(kinds: list[str]) -> None:
    words = len(show(*kinds).stdout.split())
    assert 0 < words <= MINUTES * WORDS_A_MINUTE, f"{words} words: shorten the list, or what it names"


def test_what_is_shown_is_the_guide_and_each_text_of_the_list() -> None:
    shown = show("A stage rule").stdout
    assert "A setting's default stands in one place" in shown
    assert "**Read** `services/areal_mesh/controller/rules/length.py`" in shown
    assert (ROOT / "services/areal_mesh/controller/rules/length.py").read_text().strip() in shown
    assert "class LengthShareSettings" in shown
    assert "class StageSettings" not in shown


def test_definitions_are_shown_with_their_decorators_and_imports_where_they_are_named() -> None:
    shown = show("A kind of reward of one's own").stdout
    assert "@contextmanager\ndef judge()" in shown
    assert "from areal_mesh.rewards.process import RewardProcess" in shown


def test_kinds_are_listed_and_one_that_is_none_is_named() -> None:
    assert {"A loss", "A filter", "A preset"} <= set(show().stdout.splitlines())
    failed = show("A lost")
    assert failed.returncode != 0
    assert "no addition is called A lost; there are: A loss, An advantage" in failed.stderr


def test_every_file_that_the_guide_names_is_there() -> None:
    texts = "".join(addition.SECTIONS.values())
    named = set(re.findall(r"`((?:services|clients|tests|deploy|docs)/[\w/.-]+\.\w+)", texts))
    assert named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []
