"""The process of one reward function: `python -m areal_mesh.rewards.worker CONFIG DESCRIPTOR...`.

Standard library alone.
It loads the function and says on the first connection what it is, or why it cannot be used. Then it answers each
connection's requests in turn; those of several connections at once where the function is asynchronous. It ends when
they close, or with the process that started it.
"""

import asyncio
import json
import math
import socket
import sys
from typing import Any

from areal_mesh.rewards.frames import BrokenFrame, read_frame, write_frame
from areal_mesh.rewards.loading import RewardFunction, described, load_function, place_of
from areal_mesh.rewards.values import EACH, SHARED, RewardUnusable
from areal_mesh.runtime.orphans import die_with_parent


class NoNumber(Exception):
    """The function returned something else than its numbers."""


async def rewards_of(function: RewardFunction, group: dict[str, Any]) -> list[float]:
    """A number for each response of a group. Raises whatever the function raises, and NoNumber."""
    if function.of_group:
        given = {key: group[key] for key in function.arguments}
        return _numbers(await _called(function, given), len(group["responses"]))
    calls = [
        {key: group[key] if key in SHARED else group[EACH[key]][place] for key in function.arguments}
        for place in range(len(group["responses"]))
    ]
    if function.is_async:
        values = list(await asyncio.gather(*(_called(function, given) for given in calls)))
    else:
        values = [await _called(function, given) for given in calls]
    return _numbers(values, len(calls))


async def _called(function: RewardFunction, given: dict[str, Any]) -> Any:
    value = function.call(**given, **function.options)
    return await value if function.is_async else value


def _numbers(values: Any, count: int) -> list[float]:
    try:
        listed = list(values)
    except TypeError as error:
        raise NoNumber(f"returned {_shown(values)} for a group; return a list of {count} numbers") from error
    if len(listed) != count:
        raise NoNumber(f"returned {len(listed)} numbers for {count} responses; return one for each")
    return [_number(value, place) for place, value in enumerate(listed)]


def _number(value: Any, place: int) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise NoNumber(f"returned {_shown(value)} for response {place}; return a finite number")
    return number


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


async def answer(function: RewardFunction, group: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The answer to a request: rewards, or what went wrong and where."""
    try:
        async with asyncio.timeout(seconds):
            return {"rewards": await rewards_of(function, group)}
    except TimeoutError as error:
        return {"error": f"no answer within {seconds:g} s", "cause": f"{place_of(error, function.file)}: late"}
    except NoNumber as error:
        return {"error": str(error), "cause": "no finite number for each response"}
    except Exception as error:  # noqa: BLE001 a user's function may raise anything; its caller is told
        cause = f"{place_of(error, function.file)}: {type(error).__name__}"
        return {"error": described(error, function.file), "cause": cause}


async def _serve(
    function: RewardFunction, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    try:
        while True:
            group = await read_frame(reader)
            await write_frame(writer, await answer(function, group, seconds))
    except BrokenFrame:
        writer.close()


async def _run(config: dict[str, Any], descriptors: list[int]) -> int:
    connections = [await asyncio.open_unix_connection(sock=socket.socket(fileno=fd)) for fd in descriptors]
    _, first = connections[0]
    try:
        function = load_function(config["function"], config["options"])
    except RewardUnusable as error:
        await write_frame(first, {"error": str(error)})
        return 1
    await write_frame(first, {"is_async": function.is_async, "of_group": function.of_group})
    async with asyncio.TaskGroup() as tasks:
        for reader, writer in connections:
            tasks.create_task(_serve(function, reader, writer, config["seconds"]))
    return 0


def main(arguments: list[str]) -> int:
    """Serves until the connections close."""
    config = json.loads(arguments[0])
    die_with_parent(config["parent"])
    return asyncio.run(_run(config, [int(descriptor) for descriptor in arguments[1:]]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
