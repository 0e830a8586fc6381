"""The proxy forwards, delays, cuts and swallows."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.chaos.proxy import Proxy, Weather

ANSWER_S = 5.0


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """In front of a server that says back what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    threading.Thread(target=echo, args=(connection,), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        with Proxy(server.getsockname()[1]) as proxy:
            yield proxy
        server.shutdown(socket.SHUT_RDWR)


def echo(connection: socket.socket) -> None:
    with connection, contextlib.suppress(OSError):
        while data := connection.recv(4096):
            connection.sendall(data)


@contextlib.contextmanager
def connected(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=ANSWER_S) as connection:
        yield connection


def answers(connection: socket.socket, *, within_s: float = ANSWER_S) -> bool:
    """Whether what is said comes back; False also when the connection is gone."""
    connection.settimeout(within_s)
    try:
        connection.sendall(b"hello")
        return connection.recv(5) == b"hello"
    except OSError:
        return False


def test_fair_weather_forwards(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert answers(connection)


def test_a_cut_resets_connections_and_new_ones_until_it_is_over(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert answers(connection)
        proxy.change(Weather.CUT)
        connection.settimeout(ANSWER_S)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    with connected(proxy) as connection:
        assert not answers(connection)
    proxy.change(Weather.FAIR)
    with connected(proxy) as connection:
        assert answers(connection)


def test_slow_weather_delays_both_ways(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert answers(connection)
        proxy.change(Weather.SLOW, 0.1)
        began = time.monotonic()
        assert answers(connection)
        assert time.monotonic() - began >= 0.2


def test_what_is_swallowed_never_arrives_and_the_connection_is_reset_afterwards(proxy: Proxy) -> None:
    with connected(proxy) as connection:
        assert answers(connection)
        proxy.change(Weather.SWALLOWED)
        assert not answers(connection, within_s=0.3)
        proxy.change(Weather.FAIR)
        connection.settimeout(ANSWER_S)
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""
    with connected(proxy) as connection:
        assert answers(connection)
