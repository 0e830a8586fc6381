"""`context-worker serve`: flags and environment to a server."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from worker.errors import ExitCode, Fatal
from worker.flags import CONNECTION, takes_settings
from worker.log_setup import set_up_log
from worker.settings import Settings


@takes_settings(
    *CONNECTION, *("group_id", "output_topic", "session_output_topic", "repartition_topic", "log_level", "log_format")
)
def serve(
    settings: Settings,
    *,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where to listen.")] = "127.0.0.1:8080",
    without_token: Annotated[
        bool, typer.Option("--without-token", help="Let anybody read who reaches the address.")
    ] = False,
) -> ExitCode:
    """Answer over HTTP, for chat services that do not speak Kafka: what every user has just done.

    GET /context?user_id=…&query=…   what is known of a user, and the query as a prompt
    GET /stream?user_id=…            the same after every change, as server-sent events
    GET /sessions?session_id=…       what is known of a session, also of a visitor's (with --session-output-topic)
    GET /                            a page: look up a user and watch
    GET /docs, /healthz, /readyz, /metrics

    Whoever reads needs the bearer token in WORKER_READ_TOKEN, or in the file that WORKER_READ_TOKEN_FILE names. Without
    one it listens on this machine only. POST /admin/reset is off unless there is a WORKER_ADMIN_TOKEN (or …_FILE).

    [bold]Examples[/bold]
      context-worker serve
      WORKER_READ_TOKEN_FILE=/run/secrets/read context-worker serve --listen 0.0.0.0:8080
      curl -s 'localhost:8080/context?user_id=amelie&query=How+do+I+add+a+seat'
    """
    try:
        from worker.serving import listen_of  # noqa: PLC0415 - other commands need none of it
        from worker.serving import serve as serve_http  # noqa: PLC0415
        from worker.view.tokens import tokens_of  # noqa: PLC0415
    except ModuleNotFoundError as exc:
        hint = "pip install 'user-context-worker[serve]'"
        raise Fatal(ExitCode.USAGE, f"serve needs a package that is not installed: {exc.name}", hint=hint) from exc
    set_up_log(settings.log_level, settings.log_format)
    return serve_http(settings, listen_of(listen), tokens_of(os.environ), without_token=without_token)
