"""The reference of the settings is made from the models, and says of each what it does."""

import re
from pathlib import Path

from areal_mesh.cli.settings_page import settings_page
from areal_mesh.runtime.settings import RunSettings

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_what_the_models_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == settings_page(), (
        "docs/settings.md is out of date: `areal-mesh config reference > docs/settings.md`"
    )


def test_every_setting_says_what_it_does() -> None:
    rows = [line.split(" | ") for line in settings_page().splitlines() if line.startswith("| `")]
    assert len(rows) > 150
    silent = [row[0] for row in rows if not row[-1].removesuffix("|").strip()]
    assert not silent, f"give these a description: {silent}"


def test_every_section_and_a_type_and_a_default_of_each_kind_stand_on_it() -> None:
    page = settings_page()
    assert [name for name in RunSettings.model_fields if f"| `{name}`" not in page] == []
    assert "| `learner.learning_rate` | number > 0, <= 1 | `1e-05` |" in page
    assert '| `type = "gloo"` |' in page
    assert "| `model.folder` | path | has to be given |" in page
    assert re.search(r"\| `learner\.mismatch_stop` \| number > 0 \| left out \|", page)
    assert not re.search(r"<class|typing\.|Annotated", page)
