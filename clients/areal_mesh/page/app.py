"""The application: the page's files, its answers, and what keeps the indexes up to date."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from areal_mesh.page.routes import Routes
from areal_mesh.page.shown_run import ShownRun

STATIC = Path(__file__).parent / "static"
_LOG_SECONDS = 2.0
_SMALLEST_COMPRESSED = 1000
HEADERS = {
    # Nothing but this page's own files is ever loaded or run, and no script can make markup out of a text.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
# A page elsewhere whose name resolves to this machine would otherwise be let in.
HOSTS = ["127.0.0.1", "localhost", "::1", "[::1]"]


class WithHeaders:
    """Adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request as ASGI has it."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in HEADERS.items()),
                ]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def build_app(runs: Sequence[ShownRun]) -> Starlette:
    """The application over these runs."""

    @asynccontextmanager
    async def keep_up(app: Starlette) -> AsyncIterator[None]:
        for run in runs:
            await asyncio.to_thread(run.prepare)
        async with asyncio.TaskGroup() as tasks:
            following = [tasks.create_task(_follow(run)) for run in runs]
            yield
            for task in following:
                task.cancel()
        for run in runs:
            run.index.close()

    routes = [
        Route("/", _page),
        *Routes(runs).table(),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    middleware = [
        Middleware(WithHeaders),
        Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS, www_redirect=False),
        Middleware(GZipMiddleware, minimum_size=_SMALLEST_COMPRESSED),
    ]
    return Starlette(routes=routes, middleware=middleware, lifespan=keep_up)


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


async def _follow(run: ShownRun) -> None:
    while True:
        await run.look()
        # Nobody may ever ask for the rollouts of most runs.
        if not run.wanted or await asyncio.to_thread(run.catch_up):
            await asyncio.sleep(_LOG_SECONDS)
