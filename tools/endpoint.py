"""`python -m tools.endpoint`: are an endpoint's percentiles those that a real local server planted (2 ms)?"""

from __future__ import annotations

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from fixtures.remote.endpoint import Endpoint
from fixtures.remote.load import run_load

LIMIT_MS = 2.0
_REQUESTS = 200
_ANSWER = json.dumps({"choices": [{"message": {"content": "a cat"}}]}).encode()


def served(delays_s: list[float], concurrency: int) -> tuple[list[float], list[float]]:
    """Latencies as the client sees them, and as the server took them, seconds, in the order they ended."""
    taken_s: list[float] = []
    planted = iter(delays_s)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            start_s = time.perf_counter()
            self.rfile.read(int(self.headers["content-length"]))
            time.sleep(next(planted))
            taken_s.append(time.perf_counter() - start_s)
            self.send_response(200)
            self.send_header("content-length", str(len(_ANSWER)))
            self.end_headers()
            self.wfile.write(_ANSWER)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        endpoint = Endpoint("local", url, requests=len(delays_s), warmup=0, concurrency=concurrency)
        load = run_load(endpoint, {}, [b"{}"], lambda *_: None)
        server.shutdown()
    return load.latencies_s, taken_s


def main() -> int:
    """Print planted and seen percentiles; 0 when none is further apart than the limit."""
    seen_s, taken_s = served([(10 + (index * 37) % 100) / 1e3 for index in range(_REQUESTS)], concurrency=2)
    worst = 0.0
    for q in (0.5, 0.9, 0.95):
        seen, taken = (float(np.quantile(values, q)) * 1e3 for values in (seen_s, taken_s))
        worst = max(worst, abs(seen - taken))
        print(f"p{q * 100:.0f}: server {taken:.2f} ms, seen {seen:.2f} ms, apart {seen - taken:+.2f} ms")
    return 0 if worst <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
