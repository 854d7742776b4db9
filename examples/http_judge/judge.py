"""A judge over HTTP: any server that answers a group's POST with {"rewards": [...]}, one number for each response.

    python examples/http_judge/judge.py --port 9000

This one gives a point for a response that shows its working. In its place there may be a language model, a compiler,
or a person's form.
"""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def judged(group: dict[str, Any]) -> list[float]:
    """The rewards of a group: `problem`, `references`, `responses`, `verdicts`, `tokens` and more are in it."""
    return [1.0 if "=" in response else 0.0 for response in group["responses"]]


class Judge(BaseHTTPRequestHandler):
    """Answers each POST."""

    def do_POST(self) -> None:
        """One group."""
        group = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"rewards": judged(group)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing: a run asks often."""


def main() -> None:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9000, help="0 takes a free one")
    with ThreadingHTTPServer(("127.0.0.1", parser.parse_args().port), Judge) as server:
        print(f"http://127.0.0.1:{server.server_port}/judge", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
