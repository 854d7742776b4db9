"""What the page asks for, as JSON."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from areal_mesh.page.shaping import BadRequest, columns, listed, number_of, plain, query_of
from areal_mesh.page.shown_run import ShownRun
from areal_mesh.rollouts.explaining import explanation
from areal_mesh.rollouts.index import RolloutIndex
from areal_mesh.rollouts.values import RolloutQuery, RolloutsUnreadable

_PAGE_SIZE = 50
_GROUP_SIZE = 64
"""Responses of a group that are shown beside each other, at most."""

Handler = Callable[[Request], Awaitable[Response]]
OfRun = Callable[[ShownRun, Request], Awaitable[Any]]


class Routes:
    """The answers about some runs."""

    def __init__(self, runs: Sequence[ShownRun]) -> None:
        self._runs = {run.name: run for run in runs}

    def table(self) -> list[Route]:
        """Each path with its answer."""
        answers: dict[str, OfRun] = {
            "metrics": self._metrics,
            "status": self._status,
            "sources": self._sources,
            "choices": self._choices,
            "rollouts": self._rollouts,
            "rollouts/{rollout}": self._rollout,
            "rollouts/{rollout}/why": self._why,
        }
        routes = [Route("/api/runs", self._all_runs)]
        return routes + [Route(f"/api/runs/{{run}}/{path}", self._of_run(answer)) for path, answer in answers.items()]

    def _of_run(self, answer: OfRun) -> Handler:
        async def handle(request: Request) -> Response:
            run = self._runs.get(request.path_params["run"])
            if run is None:
                return _refusal(f"no run {request.path_params['run']} is shown here", 404)
            try:
                found = await answer(run, request)
            except BadRequest as error:
                return _refusal(str(error), 400)
            except RolloutsUnreadable as error:
                return _refusal(str(error), 503)
            return _refusal("there is no such rollout, or its part of the log is gone", 404) if found is None else found

        async def as_json(request: Request) -> Response:
            found = await handle(request)
            return found if isinstance(found, Response) else JSONResponse(plain(found))

        return as_json

    async def _all_runs(self, request: Request) -> Response:
        return JSONResponse([run.about() for run in self._runs.values()])

    async def _metrics(self, run: ShownRun, request: Request) -> Any:
        after = number_of(request.query_params, "after", 0)
        return columns(await asyncio.to_thread(run.rows), after)

    async def _status(self, run: ShownRun, request: Request) -> Any:
        return {"status": await run.status()}

    async def _sources(self, run: ShownRun, request: Request) -> Any:
        return await asyncio.to_thread((await _index_of(run)).by_source)

    async def _choices(self, run: ShownRun, request: Request) -> Any:
        return await asyncio.to_thread((await _index_of(run)).choices)

    async def _rollouts(self, run: ShownRun, request: Request) -> Any:
        query, after = query_of(request.query_params), number_of(request.query_params, "after", 0)
        index = await _index_of(run)
        found = await asyncio.to_thread(index.find, query, _PAGE_SIZE, after)
        return {
            "count": found.count,
            "page": _PAGE_SIZE,
            "rollouts": [listed(rollout, query.text) for rollout in found.rollouts],
            "up_to_date": run.up_to_date,
            "fault": run.fault or run.index.missing_tokenizer,
        }

    async def _rollout(self, run: ShownRun, request: Request) -> Any:
        detail = await asyncio.to_thread((await _index_of(run)).detail, request.path_params["rollout"])
        if detail is None:
            return None
        query = RolloutQuery(group_id=detail.rollout.group_id, order="oldest")
        group = await asyncio.to_thread(run.index.find, query, _GROUP_SIZE)
        return asdict(detail) | {"group": [asdict(rollout) for rollout in group.rollouts]}

    async def _why(self, run: ShownRun, request: Request) -> Any:
        detail = await asyncio.to_thread((await _index_of(run)).detail, request.path_params["rollout"])
        if detail is None:
            return None
        return {"steps": await asyncio.to_thread(explanation, detail.rollout, run.settings)}


async def _index_of(run: ShownRun) -> RolloutIndex:
    """The index of a run; the first to ask waits a moment for the beginning of it."""
    run.wanted = True
    if not run.up_to_date:
        await asyncio.to_thread(run.catch_up)
    return run.index


def _refusal(text: str, status: int) -> Response:
    return JSONResponse({"error": text}, status)
