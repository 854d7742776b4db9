"""A real Chromium, driven over its own protocol: pages opened, keys pressed, what is shown read back."""

import asyncio
import base64
import itertools
import json
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="NOT TESTED IN A BROWSER: no Chromium is installed; apt-get install chromium"
)
_SECONDS = 30.0
_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
)


class Browser:
    """One page. What it wrote to its console, and what it asked for, is kept."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.console: list[str] = []
        self.requests: list[str] = []
        self.received_bytes = 0

    async def listen(self) -> None:
        """Takes what the browser says, until it is gone."""
        async for text in self._connection:
            message = json.loads(text)
            if "id" in message:
                self._answers.pop(message["id"]).set_result(message)
            else:
                self._note(message.get("method", ""), message.get("params", {}))

    def _note(self, method: str, given: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(given["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.console.append(json.dumps(given["args"]))
        elif method == "Log.entryAdded":
            self.console.append(given["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method == "Network.loadingFinished":
            self.received_bytes += int(given["encodedDataLength"])
        elif method == "Page.javascriptDialogOpening":
            self.console.append(f"dialog: {given['message']}")

    async def call(self, method: str, **given: Any) -> dict[str, Any]:
        """A command of the protocol, and its result."""
        number = next(self._numbers)
        self._answers[number] = answer = asyncio.get_running_loop().create_future()
        await self._connection.send(json.dumps({"id": number, "method": method, "params": given}))
        message = await asyncio.wait_for(answer, _SECONDS)
        assert "error" not in message, message
        result: dict[str, Any] = message["result"]
        return result

    async def value(self, expression: str) -> Any:
        """What an expression is in the page."""
        found = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Waits until an expression is true in the page; returns it."""
        end = time.monotonic() + _SECONDS
        while not (found := await self.value(expression)):
            assert time.monotonic() < end, f"{expression} is not true; the page says {await self.text()}"
            await asyncio.sleep(0.02)  # the page is asked again; it does not tell
        return found

    async def open(self, address: str) -> None:
        """Loads an address anew, whatever part of it differs."""
        await self.call("Page.navigate", url="about:blank")
        await self.call("Page.navigate", url=address)

    async def text(self) -> str:
        """What the page says."""
        return str(await self.value("document.body.innerText"))

    async def press(self, key: str) -> None:
        """Presses a key where the focus is."""
        written = {"text": key} if len(key) == 1 else {}
        await self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **written)
        await self.call("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def look(self, width: int, height: int, dark: bool = False) -> None:
        """Sets the window's size and what colours its user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.call("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[feature])

    async def picture(self) -> bytes:
        """What is shown, as PNG."""
        shot = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def open_browser(folder: Path) -> AsyncIterator[Browser]:
    """A browser with nothing open; `folder` is its own."""
    assert CHROMIUM is not None
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *_ARGUMENTS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        target = await _target(await _port(process))
        async with connect(target, max_size=None, proxy=None) as connection, asyncio.TaskGroup() as tasks:
            browser = Browser(connection)
            assert process.stderr is not None
            # Read on, so that the browser never waits for a full pipe.
            working = [tasks.create_task(browser.listen()), tasks.create_task(process.stderr.read())]
            for domain in ("Page", "Runtime", "Log", "Network"):
                await browser.call(f"{domain}.enable")
            yield browser
            for task in working:
                task.cancel()
    finally:
        process.kill()
        await process.wait()


async def _port(process: asyncio.subprocess.Process) -> str:
    """Where the browser listens, as it says itself."""
    assert process.stderr is not None
    async with asyncio.timeout(_SECONDS):
        async for line in process.stderr:
            found = re.search(rb"DevTools listening on ws://127\.0\.0\.1:(\d+)/", line)
            if found:
                return found.group(1).decode()
    raise AssertionError("the browser ended")


async def _target(port: str) -> str:
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        targets = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
    return str(next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"))
