"""What a client says of its connections, and when it asks whether it is still let in."""

from __future__ import annotations

import pytest

from worker.connections import ASK_AFTER_S, SAY_AGAIN_S, Connections
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError

REFUSED = KafkaError(KafkaError._AUTHENTICATION, "wrong password")
AWAY = KafkaError(KafkaError._TRANSPORT, "connection refused")


class Watch:
    """Connections on a clock of the test's own. Whoever asks is refused."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.connections = Connections(self._ask, lambda: self.now)

    def _ask(self) -> None:
        raise Fatal(ExitCode.NOT_AUTHORIZED, "refused")


def test_an_outage_is_told_at_once_and_then_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    watch = Watch()
    for _ in range(100):
        watch.now += SAY_AGAIN_S / 49
        watch.connections(AWAY)
        watch.connections.look()
    assert len(caplog.records) == 3


def test_what_concerns_no_connection_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    Connections()(KafkaError(KafkaError._MAX_POLL_EXCEEDED))
    assert caplog.records == []


def test_a_credential_that_is_refused_meanwhile_is_told_and_asked_about_a_moment_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watch = Watch()
    watch.connections(REFUSED)
    assert "wrong password" in caplog.text
    watch.connections.look()
    watch.now += ASK_AFTER_S
    watch.connections(REFUSED)  # again, which puts nothing off
    with pytest.raises(Fatal):
        watch.connections.look()


def test_it_is_asked_once_for_each_refusal() -> None:
    asked: list[float] = []
    now = 1000.0
    connections = Connections(lambda: asked.append(now), lambda: now)
    for second in range(20):
        now = 1000.0 + second
        if second in {0, 10}:
            connections(REFUSED)
        connections.look()
    assert asked == [1000.0 + ASK_AFTER_S, 1010.0 + ASK_AFTER_S]


def test_who_cannot_ask_waits() -> None:
    connections = Connections(now=lambda: 1000.0)
    connections(REFUSED)
    connections.look()
