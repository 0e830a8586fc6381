"""The HTTP of `run`, apart from what it tells."""

from __future__ import annotations

import socket

import pytest

from tests.http_get import http_get
from worker.errors import ExitCode, Fatal
from worker.http_service import Answer, HttpService
from worker.listen import Listen, parse_listen

ANY = Listen("127.0.0.1", 0)


def broken() -> Answer:
    raise RuntimeError("on purpose")


def test_a_route_is_answered_and_no_other() -> None:
    with HttpService(ANY, {"/healthz": lambda: Answer(503, b"no\n")}) as service:
        assert http_get(service.port, "/healthz") == (503, "no\n")
        assert http_get(service.port, "/healthz?verbose") == (503, "no\n")
        assert http_get(service.port, "/") == (404, "not found\n")


def test_what_fails_is_told_and_the_next_one_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    with HttpService(ANY, {"/broken": broken, "/ok": lambda: Answer(200, b"ok")}) as service:
        assert http_get(service.port, "/broken") == (500, "failed\n")
        assert http_get(service.port, "/ok") == (200, "ok")
    assert "/broken could not be answered" in caplog.text


def test_a_client_that_says_nothing_keeps_nobody_waiting() -> None:
    with (
        HttpService(ANY, {"/ok": lambda: Answer(200, b"ok")}) as service,
        socket.create_connection(("127.0.0.1", service.port)),
    ):
        assert http_get(service.port, "/ok") == (200, "ok")


def test_an_address_that_is_taken_is_told() -> None:
    with HttpService(ANY, {}) as service, pytest.raises(Fatal, match="cannot listen on") as raised:
        HttpService(Listen("127.0.0.1", service.port), {})
    assert raised.value.exit_code is ExitCode.USAGE


def test_an_address_of_version_6_is_one() -> None:
    listen = parse_listen("[::1]:9464")
    assert listen == Listen("::1", 9464)
    assert listen.family is socket.AF_INET6
