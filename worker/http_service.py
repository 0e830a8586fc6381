"""The HTTP of `run`, on threads of its own. Whatever happens here does not reach the loop."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

from worker.errors import ExitCode, Fatal
from worker.listen import Listen

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0  # a client that sends nothing keeps a thread for so long
TEXT = "text/plain; charset=utf-8"


class Answer(NamedTuple):
    """What a route gives."""

    status: int
    body: bytes
    content_type: str = TEXT


Routes = Mapping[str, Callable[[], Answer]]


class HttpService:
    """While it is entered, `routes` are answered. To be made before there is anything to stop.

    Raises:
        Fatal: USAGE; the address cannot be had.
    """

    def __init__(self, listen: Listen, routes: Routes) -> None:
        try:
            self._server = _Server(listen, routes)
        except OSError as exc:
            text = f"cannot listen on {listen.host}:{listen.port}: {exc.strerror or exc}"
            raise Fatal(ExitCode.USAGE, text, hint="name another address with --http-address") from exc

        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        host = str(self._server.server_address[0])
        log.info("health and metrics on %s", f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}")
        return self

    def _serve(self) -> None:
        try:
            self._server.serve_forever()
        except Exception:
            log.exception("health and metrics are not answered any more; the work goes on")

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a request that hangs does not hold the process up

    def __init__(self, listen: Listen, routes: Routes) -> None:
        self.address_family = listen.family
        self.routes = routes
        super().__init__((listen.host, listen.port), _Handler)

    def handle_error(self, _request: object, _client_address: object) -> None:
        log.debug("a request failed: %s", sys.exception())  # a client that went away


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S
    disable_nagle_algorithm = True  # a body does not wait until the head is acknowledged
    server: _Server

    def do_GET(self) -> None:
        route = self.server.routes.get(self.path.partition("?")[0])
        try:
            answer = Answer(404, b"not found\n") if route is None else route()
        except Exception:
            log.exception("%s could not be answered", self.path.partition("?")[0])
            answer = Answer(500, b"failed\n")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815

    def version_string(self) -> str:
        return "context-worker"

    def log_message(self, _format: str, *_arguments: object) -> None:
        """Probes and scrapes are normal operation."""
