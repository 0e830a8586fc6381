"""What stands around every request: the host that was meant, headers that every answer carries, and the count."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from worker.view.http_metrics import HttpMetrics
from worker.view.streams import Streams

_HEADERS = {
    "Cache-Control": "no-store",  # it is about a person
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}
_UNKNOWN = "none"  # no route: a path may hold anything


class Shell:
    """An ASGI application around another one."""

    def __init__(self, app: ASGIApp, metrics: HttpMetrics, streams: Streams, hosts: frozenset[str] | None) -> None:
        self.app = app
        self.streams = streams
        self._metrics = metrics
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                route = scope.get("route")
                self._metrics.count(getattr(route, "path", _UNKNOWN), message["status"])
            await send(message)

        if self._is_for_us(scope):
            await self.app(scope, receive, answer)
        else:
            await PlainTextResponse("another host is meant\n", 421)(scope, receive, answer)

    def _is_for_us(self, scope: Scope) -> bool:
        """Without a token, a stranger's page in a browser on this machine could read us under a name of its own."""
        if self._hosts is None:
            return True
        name, colon, port = Headers(scope=scope).get("host", "").lower().rpartition(":")
        if not colon or port.endswith("]"):  # no port: an address of version 6 ends with a bracket
            name = name + colon + port
        return name in self._hosts
