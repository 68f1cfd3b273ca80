"""What stands where W&B's server should: it takes a run on and says yes to everything."""

import json
import os
import signal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

_RUN = {
    "id": "run", "name": "run", "displayName": "run", "config": "{}", "summaryMetrics": "{}", "historyTail": "[]",
    "eventsTail": "[]", "historyLineCount": 0, "logLineCount": 0, "eventsLineCount": 0,
    "project": {"id": "project", "name": "project", "entity": {"id": "entity", "name": "entity"}},
}  # fmt: skip
_ANSWER = {
    "data": {
        "viewer": {
            "id": "user",
            "entity": "entity",
            "username": "user",
            "flags": "{}",
            "teams": {"edges": []},
        },
        "serverInfo": {"cliVersionInfo": {"max_cli_version": "9", "min_cli_version": "0"}, "features": []},
        "model": {"bucket": None},
        "upsertBucket": {"bucket": _RUN, "inserted": True},
        "createRunFiles": {"runID": "run", "uploadHeaders": [], "files": []},
    }
}


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        content = json.dumps(_ANSWER).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


def serve() -> tuple[int, str]:
    """Starts a server in a process of its own; returns its id and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            server.serve_forever()
        finally:
            os._exit(0)
    server.server_close()
    return pid, f"http://127.0.0.1:{server.server_port}"
