"""A hub on loopback: serves files of data sets, and takes a commit, as the Hugging Face hub does."""

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class SimulatedHub:
    """`files`: by path; `token`: who does not give it is refused. `uploaded`: what a commit brought, by path."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    token: str = ""
    address: str = ""
    repositories: list[dict[str, Any]] = field(default_factory=list)
    uploaded: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def hub(files: Mapping[str, bytes] | None = None, token: str = "") -> Iterator[SimulatedHub]:
    """It, while it serves."""
    made = SimulatedHub(files or {}, token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(made))
    made.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(made: SimulatedHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = made.files.get(self.path)
            self._answer(404 if content is None else 200, content or b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(200, json.dumps(self._said(body)).encode())

        def _said(self, body: bytes) -> dict[str, Any]:
            if self.path == "/api/repos/create":
                made.repositories.append(json.loads(body))
                parts = (made.repositories[-1].get("organization"), made.repositories[-1]["name"])
                name = "/".join(part for part in parts if part)
                return {"url": f"{made.address}/{name}", "id": name}
            if "/preupload/" in self.path:
                asked = json.loads(body)["files"]
                how = {"uploadMode": "regular", "shouldIgnore": False}
                return {"files": [{"path": each["path"], **how} for each in asked]}
            for line in filter(None, body.split(b"\n")):
                entry = json.loads(line)
                if entry["key"] == "file":
                    made.uploaded[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            return {"commitUrl": f"{made.address}/anna/mine/commit/1", "commitOid": "1"}

        def _answer(self, status: int, content: bytes) -> None:
            if made.token and self.headers.get("Authorization") != f"Bearer {made.token}":
                status, content = 401, b"{}"
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    return Handler
