"""What a member says while no broker answers."""

from __future__ import annotations

import pytest

from worker.kafka import KafkaError
from worker.kafka_clients import SAY_AGAIN_S, Unreachable


def test_an_outage_is_told_at_once_and_then_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    now = 1000.0
    unreachable = Unreachable(lambda: now)
    for _ in range(100):
        now += SAY_AGAIN_S / 49
        unreachable(KafkaError(KafkaError._TRANSPORT))
    assert len(caplog.records) == 3


def test_a_credential_that_is_refused_meanwhile_is_told(caplog: pytest.LogCaptureFixture) -> None:
    Unreachable()(KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    assert "wrong password" in caplog.text


def test_what_concerns_no_connection_is_not(caplog: pytest.LogCaptureFixture) -> None:
    Unreachable()(KafkaError(KafkaError._MAX_POLL_EXCEEDED))
    assert caplog.records == []
