"""The Climate Data Store on loopback: a catalogue, a queue that takes its time, a file to fetch.

It speaks what the centre's own client asks: ``/catalogue/v1``, ``/retrieve/v1/processes`` and ``jobs``.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

DATASET = "reanalysis-era5-single-levels"
KEY = "a-key"


class ClimateDataStore:
    """``make`` writes the file a job asks for; ``polls``: how often a job is still running; ``outcome``: its end.

    An ``expired`` one was successful, and its results are gone.
    """

    def __init__(self, folder: Path, make: Callable[[dict[str, Any], Path], Path], end: str) -> None:
        self.folder, self.make, self.end = folder, make, end
        self.polls, self.outcome, self.jobs = 1, "successful", list[dict[str, Any]]()
        self.address = ""
        handler = type("Handler", (_Handler,), {"store": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.upstream = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, body: bytes, key: str | None) -> tuple[int, bytes]:
        """What is said to a request; ``address`` is where links point: the proxy before it."""
        base, parts = self.address or self.upstream, [part for part in path.split("?")[0].split("/") if part]
        if path.startswith(f"/catalogue/v1/collections/{DATASET}"):
            return 200, _json(
                {"id": DATASET, "extent": {"temporal": {"interval": [["1940-01-01T00:00:00Z", self.end]]}}}
            )
        if path.startswith("/catalogue/v1/messages"):
            return 200, _json({"messages": []})
        if parts[:1] == ["files"]:
            return 200, (self.folder / parts[1]).read_bytes()
        if key != KEY:
            return 401, _json({"title": "Unauthorized", "detail": "operation not allowed"})
        if method == "POST" and parts[-1] == "execution":
            self.jobs.append(json.loads(body)["inputs"])
            return 201, self._job(len(self.jobs) - 1, "accepted", 0)
        if parts[2:3] == ["processes"]:
            link = {"rel": "execute", "href": f"{base}/retrieve/v1/processes/{DATASET}/execution"}
            return 200, _json({"id": DATASET, "links": [link]})
        return self._of_job(int(parts[3]), parts[4:], base)

    def _of_job(self, number: int, rest: list[str], base: str) -> tuple[int, bytes]:
        if rest == ["results"] and self.outcome == "expired":
            return 404, _json({"title": "job results not found", "detail": "results expired"})
        if rest == ["results"] and self.outcome != "successful":
            return 400, _json({"title": f"The job: {self.outcome}", "traceback": "too many fields"})
        if rest == ["results"]:
            path = self.make(self.jobs[number], self.folder / f"{number}.nc")
            value = {"type": "application/netcdf", "href": f"{base}/files/{path.name}",
                     "file:size": path.stat().st_size}  # fmt: skip
            return 200, _json({"asset": {"value": value}})
        self.polls -= 1
        done = "successful" if self.outcome == "expired" else self.outcome
        return 200, self._job(number, "running" if self.polls >= 0 else done, number)

    def _job(self, number: int, status: str, _: int) -> bytes:
        base = self.address or self.upstream
        job = f"{base}/retrieve/v1/jobs/{number}"
        links = [{"rel": rel, "href": job} for rel in ("monitor", "self")]
        links.append({"rel": "results", "href": f"{job}/results"})
        return _json({"jobID": str(number), "status": status, "links": links, "type": "process"})


class _Handler(BaseHTTPRequestHandler):
    store: ClimateDataStore
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing is logged."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        status, answer = self.store.answer(self.command, self.path, body, self.headers.get("PRIVATE-TOKEN"))
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815  (http.server's names)


def _json(content: object) -> bytes:
    return json.dumps(content).encode()
