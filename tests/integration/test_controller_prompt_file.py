"""A run whose prompts change under it: between two sittings, and while a controller serves."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from areal_mesh.controller.service import build
from areal_mesh.runtime.errors import StartupError
from areal_mesh.runtime.identity import Identity
from areal_mesh.runtime.service import ServiceContext
from areal_mesh.runtime.settings import RunSettings
from tests.integration.controller_mesh import Mesh, controller, settings_in
from tests.integration.controller_peers import SECONDS


def begin(settings: RunSettings) -> Any:
    return build(ServiceContext(settings, Identity("controller", "controller"), ""))


def changed(settings: RunSettings, **prompts: Any) -> RunSettings:
    return settings.model_copy(update={"prompts": settings.prompts.model_copy(update=prompts)})


def edited(settings: RunSettings) -> RunSettings:
    file = settings.prompts.file
    file.write_text(file.read_text().replace('"answer": "3"', '"answer": "4"'))
    return settings


CHANGES: dict[str, Callable[[RunSettings], RunSettings]] = {
    "prompts.file": edited,
    "prompts.count": lambda settings: changed(settings, count=3),
    "prompts.shuffle": lambda settings: changed(settings, shuffle=False),
    "prompts.template": lambda settings: changed(settings, template="Q: {problem}"),
    "prompts.instruction": lambda settings: changed(settings, instruction="Think."),
    "seed": lambda settings: settings.model_copy(update={"seed": 9}),
}


@pytest.mark.parametrize(("key", "change"), CHANGES.items(), ids=CHANGES)
async def test_a_run_whose_prompts_would_be_others_is_not_gone_on_with(
    key: str, change: Callable[[RunSettings], RunSettings], tmp_path: Path
) -> None:
    settings = settings_in(tmp_path)
    await begin(settings).close()
    await begin(settings).close()
    with pytest.raises(StartupError, match=rf"^{key} = .* but the run was begun with .*; put it back as it was, or "):
        begin(change(settings))


async def test_the_same_problems_in_another_place_are_the_same(tmp_path: Path) -> None:
    settings = settings_in(tmp_path)
    await begin(settings).close()
    moved = tmp_path / "moved.jsonl"
    settings.prompts.file.rename(moved)
    await begin(changed(settings, file=moved)).close()
    with pytest.raises(StartupError, match=rf"{settings.prompts.file}: cannot be read"):
        begin(settings)


async def test_a_file_that_is_edited_under_a_controller_ends_it_with_the_cause(tmp_path: Path) -> None:
    with pytest.raises(ExceptionGroup) as ended:
        await lease_from_an_edited_file(settings_in(tmp_path))
    cause: BaseException = ended.value
    while isinstance(cause, BaseExceptionGroup):
        (cause,) = cause.exceptions
    assert isinstance(cause, StartupError)
    assert str(cause).startswith(f"{tmp_path / 'prompts.jsonl'}, byte ")
    assert "was changed while the run went on; put the file back as it was" in str(cause)


async def lease_from_an_edited_file(settings: RunSettings) -> None:
    """Ends by what ends the controller."""
    async with AsyncExitStack() as stack, controller(settings) as (_, address):
        mesh = Mesh(stack)
        await mesh.learner(address)
        generator = await mesh.generator(address)
        file = settings.prompts.file
        file.write_text(file.read_text().replace(" + ", " - "))
        with pytest.raises(grpc.aio.AioRpcError):
            await generator.lease()
        async with asyncio.timeout(SECONDS):
            await asyncio.Event().wait()
