"""The composition root of `serve`: a view, the HTTP application around it, and the server."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Iterator

import uvicorn

from worker.erasure import write_reset
from worker.errors import ExitCode, Fatal
from worker.listen import Listen, parse_listen
from worker.settings import Settings
from worker.view import AsyncUserContextView
from worker.view.answers import ResetWritten
from worker.view.http import HttpPolicy, create_app
from worker.view.http_shell import Shell
from worker.view.tokens import READ_VARIABLE, Tokens
from worker.view.user_context_view import view_of

log = logging.getLogger(__name__)

STOP_S = 5  # requests that are under way when it is asked to stop
LARGEST_HEAD_BYTES = 65_536  # of a request: its line and its headers; no route reads a body
BACKLOG = 2048  # a thousand streams may come at once
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def listen_of(text: str) -> Listen:
    """`host:port`, `[v6]:port`.

    Raises:
        Fatal: USAGE.
    """
    try:
        return parse_listen(text)
    except ValueError as exc:
        raise Fatal(ExitCode.USAGE, f"--listen: {exc}", hint="e.g. 127.0.0.1:8080") from exc


def serve(settings: Settings, listen: Listen, tokens: Tokens, *, without_token: bool) -> ExitCode:
    """Answer until SIGTERM or SIGINT. To be called from the main thread.

    Raises:
        Fatal: the address cannot be had, or the topic can never be read.
    """
    _require_token(listen, tokens, without_token=without_token)
    return asyncio.run(_serve(settings, listen, tokens))


def _require_token(listen: Listen, tokens: Tokens, *, without_token: bool) -> None:
    if tokens.read or listen.is_loopback or without_token:
        return
    text = f"anybody who reaches {listen.host}:{listen.port} could read what every user does"
    hint = f"set {READ_VARIABLE} (or {READ_VARIABLE}_FILE), listen on 127.0.0.1, or say --without-token"
    raise Fatal(ExitCode.USAGE, text, hint=hint)


async def _serve(settings: Settings, listen: Listen, tokens: Tokens) -> ExitCode:
    async def erase(user_id: str) -> ResetWritten:
        written = await asyncio.to_thread(write_reset, settings, user_id)
        return ResetWritten(topic=written.topic, partition=written.partition, offset=written.offset)

    guarded = tokens.read or not listen.is_loopback
    view = AsyncUserContextView.over(view_of(settings))
    app = create_app(view, HttpPolicy(tokens, erase, None if guarded else LOOPBACK_NAMES))
    server = Server(app)
    async with view:
        listening = listening_socket(listen)
        watching = asyncio.create_task(_stop_when_it_can_never_be(view, server))
        try:
            await server.serve([listening])
        finally:
            watching.cancel()
        failure = view.ready.exception() if view.ready.done() else None
    if failure is not None:
        raise failure
    return ExitCode.OK


def listening_socket(listen: Listen) -> socket.socket:
    """A socket whose connections send at once.

    Raises:
        Fatal: the address cannot be listened on.
    """
    try:
        listening = socket.create_server((listen.host, listen.port), family=listen.family, backlog=BACKLOG)
    except OSError as exc:
        text = f"cannot listen on {listen.host}:{listen.port}: {exc.strerror or exc}"
        raise Fatal(ExitCode.USAGE, text, hint="name another address with --listen") from exc
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    log.info("listening on %s", listening.getsockname()[:2])
    return listening


async def _stop_when_it_can_never_be(view: AsyncUserContextView, server: Server) -> None:
    ready = asyncio.wrap_future(view.ready)
    await asyncio.wait({ready})
    if ready.exception() is not None:
        server.stop()


class Server(uvicorn.Server):
    """Ends with its streams: they would not end by themselves."""

    def __init__(self, app: Shell) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",  # it bounds the head of a request
                h11_max_incomplete_event_size=LARGEST_HEAD_BYTES,
                ws="none",
                lifespan="off",
                access_log=False,  # a path may hold a user id
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=STOP_S,
            )
        )
        self._app = app

    def stop(self) -> None:
        """Take nothing any more, and end what is under way."""
        self.should_exit = True
        self._app.streams.close()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """A signal is a wish to stop, and no reason to end as if killed by it."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
