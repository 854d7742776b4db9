"""A judge elsewhere: a group is posted to it as JSON, and it answers with a number for each response.

Sent are `problem`, `references`, `source`, `responses`, `verdicts`, `finish_reasons` and `tokens`; the answer is
`{"rewards": [...]}`, or the list alone. Runs in a reward's process, on the standard library alone.
"""

import asyncio
import json
import os
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

_PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before another try, where the judge is busy or away; the reward's deadline bounds them all."""
_OWN_SHARE = 0.9
"""Of the deadline: what went wrong is said before it."""
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LONGEST_TEXT = 200


class JudgeRefused(Exception):
    """The judge answered, and not with rewards."""


async def judge(
    *,
    problem: str,
    references: list[str],
    source: str,
    responses: list[str],
    verdicts: list[str],
    finish_reasons: list[str],
    tokens: list[int],
    url: str,
    token_variable: str,
    request_seconds: float,
) -> list[Any]:
    """The judge's number for each response. Raises JudgeRefused, or OSError where it stays away."""
    group = {
        "problem": problem,
        "references": references,
        "source": source,
        "responses": responses,
        "verdicts": verdicts,
        "finish_reasons": finish_reasons,
        "tokens": tokens,
    }
    request = _request(url, group, token_variable)
    ends = time.monotonic() + request_seconds * _OWN_SHARE
    for pause in (*_PAUSES, None):
        last = pause is None or time.monotonic() + pause > ends
        try:
            return await asyncio.to_thread(_posted, request, max(0.1, ends - time.monotonic()))
        except urllib.error.HTTPError as error:
            said = error.read(_LONGEST_TEXT).decode(errors="replace")
            if error.code not in _BUSY or last:
                raise JudgeRefused(f"{url} answered {error.code} {error.reason}: {said}") from error
        except OSError as error:
            if last:
                raise OSError(f"{url} cannot be reached: {error}") from error
        await asyncio.sleep(pause or 0.0)
    raise AssertionError("the last try returns or raises")


def _request(url: str, group: dict[str, Any], token_variable: str) -> urllib.request.Request:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token_variable:
        token = os.environ.get(token_variable)
        if not token:
            raise JudgeRefused(f"token_variable: ${token_variable} is not set where the verifier runs")
        headers["Authorization"] = f"Bearer {token}"
    return urllib.request.Request(url, json.dumps(group).encode(), headers, method="POST")


def _posted(request: urllib.request.Request, seconds: float) -> list[Any]:
    # Proxies of the environment are for the web, not for a judge on this machine.
    proxies: dict[str, str] | None = {} if urlsplit(request.full_url).hostname in _LOOPBACK else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies))
    with opener.open(request, timeout=seconds) as response:
        body = response.read()
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise JudgeRefused(f"{request.full_url} answered no JSON: {body[:_LONGEST_TEXT]!r}") from error
    rewards = answer.get("rewards") if isinstance(answer, dict) else answer
    if not isinstance(rewards, list):
        raise JudgeRefused(f'{request.full_url} answered {str(answer)[:_LONGEST_TEXT]}; expected {{"rewards": [...]}}')
    return rewards
