"""Lines to payloads: judged, keyed, moved; and the hour that ships."""

from __future__ import annotations

import gzip
import io
import sys
import time
from importlib import resources
from pathlib import Path

import orjson
import pytest

from schemas.codec import Payload, read_payload
from worker import producing, sample
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError
from worker.producing import (
    BadLine,
    Produced,
    Source,
    open_source,
    publish,
    read_line,
    require_delivery,
    shift_to_now,
    shifted,
)
from worker.settings import Settings
from worker.topic_policy import Role, Topic

LOOKBACK_S = 300.0


def source(data: bytes) -> Source:
    return Source(io.BytesIO(data), len(data))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (b'{"session_id": " s1 "}', b"s1"),
        (b'{"session_id": 42, "type": null}', b"42"),
        (b'{"session_id": "s", "type": "summary"}', b"s"),
        (b'{"type": "summary"}', b""),
    ],
)
def test_the_key_is_the_session(text: bytes, key: bytes) -> None:
    line = read_line(text)
    assert (line.key, line.value) == (key, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"nope", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"user_id": "u"}', "there is no session_id"),
        (b'{"session_id": "s", "forwarded_at": "now"}', "$.forwarded_at"),
        (b'{"session_id": "s", "actions": [{"title": 3}]}', "$.actions"),
        (b'{"session_id": "\xff"}', "not valid JSON in UTF-8"),
    ],
)
def test_a_line_the_worker_could_not_read_is_refused_with_the_reason(text: bytes, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        read_line(text)
    assert reason in str(caught.value)


def test_all_event_times_move_by_the_same_and_what_is_missing_stays_missing() -> None:
    action = b'{"timestamp_start":98.5,"timestamp_end":0,"index":3}'
    text = b'{"session_id":"s","forwarded_at":100,"actions":[' + action + b',{}],"count":2}'
    assert orjson.loads(shifted(text, 1000.25)) == {
        "session_id": "s",
        "forwarded_at": 1100.25,
        "actions": [{"timestamp_start": 1098.75, "timestamp_end": 0, "index": 3}, {}],
        "count": 2,
    }
    assert orjson.loads(shifted(b'{"forwarded_at":null,"actions":null}', 5)) == {"forwarded_at": None, "actions": None}


def test_the_shift_brings_the_newest_line_to_now() -> None:
    lines = b'{"session_id":"s","forwarded_at":50}\nbad\n{"session_id":"s","forwarded_at":70}\n{"session_id":"s"}\n'
    assert time.time() - 70 - shift_to_now(source(lines)) == pytest.approx(0, abs=5)


def test_lines_without_a_time_cannot_be_moved() -> None:
    with pytest.raises(Fatal, match="no line has an event time") as caught:
        shift_to_now(source(b'{"session_id":"s","forwarded_at":0}\nbad\n'))
    assert caught.value.exit_code is ExitCode.USAGE


def test_lines_are_numbered_with_blank_ones_and_read_twice() -> None:
    lines = source(b"one\n\n  two\r\nthree")
    assert list(lines.lines()) == [(1, b"one"), (3, b"two"), (4, b"three")]
    assert list(lines.lines()) == list(lines.lines())


def test_a_packed_file_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(gzip.compress(b"one\ntwo\n"))
    with open_source(str(path)) as opened:
        assert list(opened.lines()) == [(1, b"one"), (2, b"two")]
        assert opened.position == opened.size == path.stat().st_size


@pytest.mark.parametrize("twice", [True, False])
def test_a_pipe_is_read(twice: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\n")))
    with open_source("-", twice=twice) as opened:
        assert list(opened.lines()) == [(1, b"one"), (2, b"two")]
        assert list(opened.lines()) == ([(1, b"one"), (2, b"two")] if twice else [])


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(Fatal) as caught, open_source(str(tmp_path / "missing")):
        pass
    assert caught.value.exit_code is ExitCode.USAGE
    torn = tmp_path / "torn.gz"
    torn.write_bytes(gzip.compress(b"line\n" * 1000)[:30])
    with pytest.raises(Fatal, match="cannot read"), open_source(str(torn)) as opened:
        list(opened.lines())


def test_the_newest_users_are_told_first() -> None:
    done = Produced(newest_users={"old": 1.0, "b": 9.0, "a": 9.0, "c": 5.0})
    assert done.latest_users() == ["a", "b", "c"]


# --- the sample ---


def test_the_shipped_hour_is_what_its_script_makes() -> None:
    shipped = (resources.files("worker") / "sample.jsonl.gz").read_bytes()
    assert gzip.decompress(shipped) == sample.lines(sample.payloads())


def test_the_hour_is_an_hour_of_readable_payloads() -> None:
    payloads = [read_payload(orjson.dumps(payload)) for payload in sample.payloads()]
    assert len(payloads) > 300
    times = [payload.forwarded_at or 0.0 for payload in payloads if isinstance(payload, Payload)]
    assert len(times) == len(payloads)
    assert times == sorted(times)
    assert 58 * 60 < times[-1] - sample.HOUR_STARTS_AT < 60 * 60


def test_well_named_people_are_in_the_middle_of_something_when_the_hour_ends() -> None:
    payloads = sample.payloads()
    end = payloads[-1]["forwarded_at"]
    live: dict[object, set[tuple[str, str]]] = {}
    for payload in payloads:
        if payload["user_id"] is not None and payload["forwarded_at"] >= end - LOOKBACK_S + 60:
            live.setdefault(payload["user_id"], set()).add((payload["product_id"], payload["session_id"]))
    assert {"amelie", "bruno", "dana", "lucia", 4217} <= live.keys()
    assert len(live["amelie"]) == 2


def test_the_hour_has_what_makes_it_hard() -> None:
    payloads = sample.payloads()
    anonymous = {p["session_id"] for p in payloads if p["user_id"] is None}
    named = {p["session_id"] for p in payloads if p["user_id"] is not None}
    assert anonymous & named  # signed in on the way
    assert anonymous - named  # never signed in
    products = {(p["session_id"], p["product_id"]) for p in payloads}
    assert len(products) > len(anonymous | named)  # the same session id in two products
    users = {(p["session_id"], p["user_id"]) for p in payloads if p["user_id"] is not None}
    assert len(users) > len(named)  # two people at one screen
    for session in named:
        indexes = [a["index"] for p in payloads if p["session_id"] == session for a in p["actions"]]
        assert indexes == list(range(len(indexes)))


@pytest.mark.parametrize(
    ("code", "left", "exit_code"),
    [
        (KafkaError._MSG_TIMED_OUT, 0, ExitCode.BROKER_UNREACHABLE),
        (KafkaError.NOT_ENOUGH_REPLICAS, 0, ExitCode.BROKER_UNREACHABLE),
        (None, 2, ExitCode.BROKER_UNREACHABLE),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, 2, ExitCode.NOT_AUTHORIZED),
    ],
)
def test_what_is_not_known_to_be_delivered_is_an_error_with_a_name(
    code: int | None, left: int, exit_code: ExitCode
) -> None:
    with pytest.raises(Fatal, match="writing to t") as raised:
        require_delivery(None if code is None else KafkaError(code), left, "writing to t")
    assert raised.value.exit_code == exit_code
    assert raised.value.hint


def test_what_is_delivered_is_no_error() -> None:
    require_delivery(None, 0, "writing to t")


class TakesAll:
    """A producer that delivers everything."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.flushed = False

    def produce(self, _topic: str, value: bytes, _key: bytes, on_delivery: object) -> None:
        self.values.append(value)
        assert callable(on_delivery)

    def poll(self, _timeout: float) -> int:
        return 0

    def flush(self, _timeout: float) -> int:
        self.flushed = True
        return 0


class BrokenOff(io.BytesIO):
    """A pipe whose second line is Ctrl-C."""

    def __iter__(self) -> BrokenOff:
        return self

    def __next__(self) -> bytes:
        if self.tell():
            raise KeyboardInterrupt
        self.seek(1)
        return b'{"session_id":"s"}\n'


def test_ctrl_c_ends_a_pipe_with_everything_delivered_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    producer = TakesAll()
    monkeypatch.setattr(producing, "open_producer", lambda _settings, _topic: producer)
    shown: list[int] = []
    pipe = Source(BrokenOff(), None)
    done = publish(pipe, Settings(), Topic("t", Role.INPUT, 1), 0.0, lambda: shown.append(pipe.position))
    assert (done.interrupted, done.delivered, producer.flushed) == (True, 1, True)
    assert shown == [1, 1]
