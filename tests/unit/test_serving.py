"""What `serve` is given: an address, tokens, and the packages that it needs."""

from __future__ import annotations

import socket
import sys

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from worker.cli import app
from worker.errors import ExitCode, Fatal
from worker.listen import Listen
from worker.serving import listen_of, listening_socket, serve
from worker.settings import Settings
from worker.view.tokens import Tokens


@pytest.mark.parametrize(
    ("text", "expected", "is_loopback"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080), True),
        ("localhost:80", Listen("localhost", 80), True),
        ("[::1]:8080", Listen("::1", 8080), True),
        ("127.9.9.9:1", Listen("127.9.9.9", 1), True),
        ("0.0.0.0:8080", Listen("0.0.0.0", 8080), False),
        ("[::]:8080", Listen("::", 8080), False),
        ("localhost.example:80", Listen("localhost.example", 80), False),
        ("10.0.0.1:80", Listen("10.0.0.1", 80), False),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, expected: Listen, is_loopback: bool) -> None:
    assert listen_of(text) == expected
    assert listen_of(text).is_loopback is is_loopback


@pytest.mark.parametrize("text", ["", "8080", ":8080", "host:", "host:http", "host:70000", "host:-1", "host:٣"])
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(Fatal, match="expected host:port") as raised:
        listen_of(text)
    assert raised.value.exit_code is ExitCode.USAGE


def test_others_may_reach_it_with_a_token_or_a_word_only() -> None:
    with pytest.raises(Fatal, match="could read what every user does"):
        serve(Settings(), Listen("0.0.0.0", 0), Tokens(admin=SecretStr("a" * 20)), without_token=False)


def test_an_answer_does_not_wait_until_its_head_is_acknowledged() -> None:
    """asyncio leaves a connection as the listening socket made it: with 40 ms between head and body (measured)."""
    with (
        listening_socket(Listen("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_package_that_is_missing_is_named_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "worker.serving")
    told = CliRunner().invoke(app, ["serve", "--listen", "127.0.0.1:0"]).exception
    assert isinstance(told, Fatal)
    assert "uvicorn" in str(told)
    assert "pip install 'user-context-worker[serve]'" in str(told)
