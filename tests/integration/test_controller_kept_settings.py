"""The settings in a run's directory, where its controller is served without a launcher."""

from pathlib import Path

from areal_mesh.runtime.settings import RunSettings, load_settings
from tests.integration.controller_mesh import controller, settings_in


async def begin(settings: RunSettings) -> Path:
    """A life of its controller; the file of the settings."""
    async with controller(settings):
        pass
    return settings.run_directory / "settings.json"


def with_steps(settings: RunSettings, steps: int) -> RunSettings:
    values = settings.model_dump(mode="json")
    for stage in values["stages"]:
        stage["max_steps"] = steps
    return RunSettings.model_validate(values)


async def test_they_are_what_the_controller_was_given(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    assert load_settings(await begin(settings)).model_dump(mode="json") == settings.model_dump(mode="json")


async def test_those_of_the_next_life_take_their_place(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await begin(settings)
    more = with_steps(settings, 77)
    assert load_settings(await begin(more)).model_dump(mode="json") == more.model_dump(mode="json")


async def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    settings.run_directory.mkdir(parents=True)
    mine = settings.run_directory / "settings.json"
    mine.write_text('{"extends": "trial"}')
    assert (await begin(settings)).read_text() == '{"extends": "trial"}'
