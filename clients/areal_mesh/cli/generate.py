"""`areal-mesh generate`: answers of a run's generator to a prompt of one's own, token by token."""

import asyncio
import dataclasses
import json
import math
import sys
from dataclasses import dataclass, field

from areal_mesh.cli.control import ask
from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.targets import Target
from areal_mesh.client import MeshClientError, Started, Tokens
from areal_mesh.runtime.text import printable


@dataclass(frozen=True)
class GenerateOptions:
    """What is asked, and how it is shown; None is as the run samples."""

    prompt: str
    written: bool = False
    """The prompt is written out whole; else it is a problem for the run's template."""
    responses: int | None = None
    max_response_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    policy_version: int | None = None
    tag: str = ""
    tokens: bool = False
    as_json: bool = False


def generate(target: Target, address: str, options: GenerateOptions) -> None:
    """Prints the answers of the generator at `address`; if that is empty, of the first that serves the run.

    Raises:
        CommandFailed: in the client's words; or the run has no generator that serves.
    """
    if not address:
        serving = ask(target, lambda mesh: mesh.generators())
        if not serving:
            raise CommandFailed(
                f"the run at {target.address} has no generator that serves yet; `areal-mesh status` says what "
                "they wait for"
            )
        address = serving[0]
    try:
        asyncio.run(_generate(target, address, options))
    except MeshClientError as error:
        raise CommandFailed(str(error)) from error


async def _generate(target: Target, address: str, options: GenerateOptions) -> None:
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    sampled = ("responses", "max_response_tokens", "temperature", "top_p", "seed", "policy_version", "tag")
    asked = {name: getattr(options, name) for name in sampled}
    shown = _View(options.tokens)
    async with target.generator(address) as client:
        events = client.generate(text=prompt, **asked) if options.written else client.generate(prompt, **asked)
        async for event in events:
            if options.as_json:
                print(json.dumps(_record(event)), flush=True)
            else:
                shown.add(event)


def _record(event: Started | Tokens) -> dict[str, object]:
    """A message as JSON holds it: a log-probability that is no finite number is null."""
    record = {"event": type(event).__name__.lower(), **dataclasses.asdict(event)}
    if isinstance(event, Tokens):
        record["log_probs"] = [value if math.isfinite(value) else None for value in event.log_probs]
    return record


@dataclass
class _Response:
    """One response so far."""

    printed: list[str] = field(default_factory=list)
    """What has come and is not written yet."""
    log_probs: list[float] = field(default_factory=list)
    last: Tokens | None = None


class _View:
    """Writes the responses one after the other, the first that is not finished as it comes."""

    def __init__(self, by_token: bool) -> None:
        self._by_token = by_token
        self._responses: list[_Response] = []
        self._current = 0

    def add(self, event: Started | Tokens) -> None:
        """Takes in a message, and writes what its response's turn has come for."""
        if isinstance(event, Started):
            self._responses = [_Response() for _ in range(event.responses)]
            print(_heading(event), file=sys.stderr, flush=True)
            return
        response = self._responses[event.response]
        response.log_probs += event.log_probs
        response.printed += _token_lines(event) if self._by_token else [printable(event.text)]
        response.last = event if event.finish_reason else None
        while self._current < len(self._responses):
            shown = self._responses[self._current]
            print("".join(shown.printed), end="", flush=True)
            shown.printed.clear()
            if shown.last is None:
                return
            print("" if self._by_token else "\n", end="", flush=True)
            print(_summary(shown.last, shown.log_probs), file=sys.stderr, flush=True)
            self._current += 1


def _heading(started: Started) -> str:
    return (
        f"[{len(started.prompt_token_ids)} prompt tokens, version {started.policy_version}, temperature "
        f"{started.temperature:g}, at most {started.max_response_tokens} tokens]"
    )


def _token_lines(event: Tokens) -> list[str]:
    """A line a token; the text of tokens that came together stands with the last of them."""
    lines = [f"{token:>7} {value:>9.4f}\n" for token, value in zip(event.token_ids, event.log_probs, strict=True)]
    if lines:
        lines[-1] = f"{lines[-1].rstrip()} {event.text!r}\n"
    return lines


def _summary(last: Tokens, log_probs: list[float]) -> str:
    versions = ", ".join(f"version {version} tokens {start} to {end - 1}" for version, start, end in last.version_spans)
    return (
        f"[response {last.response}: {len(log_probs)} tokens, ended by {last.finish_reason}; {versions}; mean "
        f"log-probability {math.fsum(log_probs) / max(1, len(log_probs)):.4f}]"
    )
