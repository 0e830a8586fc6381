"""The way in: what becomes of a payload that is added, also where the broker does not take it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import orjson
import pytest
from autoplay_sdk import ActionsPayload as SdkPayload

from schemas import ActionsPayload
from schemas.codec import Payload, read_payload
from schemas.encoding import Unencodable, encode_payload, session_key
from tests.payloads import NOW, payload
from worker.kafka import KafkaError, KafkaException, Message
from worker.publisher import (
    ActionsPublisher,
    AsyncActionsPublisher,
    Complaint,
    Failure,
    NotDelivered,
    QueueIsFull,
    WhenFull,
)

Report = Callable[[KafkaError | None, Message], None]
MESSAGE = Message("t", 0, 0)


class FakeOutlet:
    """A producer whose deliveries a test decides: by default everything is delivered at the next poll or flush."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, bytes]] = []
        self.room = 1_000_000
        self.stuck = False
        self.refuse_at_once: KafkaError | None = None
        self.fail_with: KafkaError | None = None
        self._queue: list[Report] = []
        self._lock = threading.RLock()
        self._polled = threading.Event()

    def produce(self, topic: str, value: bytes, key: bytes, *, on_delivery: Report) -> None:
        assert topic == "t"
        with self._lock:
            if self.refuse_at_once is not None:
                raise KafkaException(self.refuse_at_once)
            if len(self._queue) >= self.room:
                raise BufferError("Local: Queue full")
            self.taken.append((key, value))
            self._queue.append(on_delivery)

    def poll(self, timeout: float) -> int:
        self._polled.wait(min(timeout, 0.005))
        return self._serve()

    def flush(self, timeout: float) -> int:
        assert timeout >= 0
        self._serve()
        return len(self)

    def __len__(self) -> int:
        return len(self._queue)

    def _serve(self) -> int:
        with self._lock:
            if self.stuck:
                return 0
            queue, self._queue = self._queue, []
            for report in queue:
                if self.fail_with is not None:
                    report(self.fail_with, MESSAGE)
            return len(queue)


@pytest.fixture
def outlet() -> FakeOutlet:
    return FakeOutlet()


@pytest.fixture
def opened(outlet: FakeOutlet) -> Iterator[Callable[..., ActionsPublisher]]:
    publishers: list[ActionsPublisher] = []

    def open_one(when_full: WhenFull = "wait", on_failure: Callable[[Failure], object] | None = None) -> Any:
        publishers.append(ActionsPublisher.over(outlet, "t", when_full=when_full, on_failure=on_failure))
        return publishers[-1]

    yield open_one
    for one in publishers:
        with suppress(NotDelivered):
            one.close(0)


# --- the form on the wire ---


def sdk_payload(data: dict[str, object]) -> Any:
    return SdkPayload.from_dict(data)


WIRE: dict[str, object] = {
    "type": "actions",
    "product_id": "acme",
    "session_id": "ps_1",
    "user_id": "user_456",
    "email": "alice@example.com",
    "conversation_id": "c1",
    "actions": [
        {
            "title": "Billing",
            "description": "User landed on Billing",
            "canonical_url": "https://app.example.com/billing",
            "index": 3,
            "type": "pageview",
            "timestamp_start": NOW - 1,
            "timestamp_end": NOW,
            "raw_url": "https://app.example.com/billing?x=1",
            "session_id": "ps_1",
            "user_id": None,
            "email": None,
            "conversation_id": None,
        }
    ],
    "count": 1,
    "forwarded_at": NOW,
}


@pytest.mark.parametrize("read", [ActionsPayload.from_dict, sdk_payload], ids=["ours", "the SDK's"])
def test_a_payload_goes_out_as_it_stands_on_the_wire(read: Callable[[dict[str, object]], Any]) -> None:
    value = encode_payload(read(WIRE))
    assert orjson.loads(value) == WIRE
    assert session_key(read(WIRE)) == b"ps_1"
    assert isinstance(read_payload(value), Payload)


def test_ids_count_as_they_do_everywhere() -> None:
    given: Any = payload(session=" ps_1 ")
    given.user_id = 2**70  # a program that keeps ids as numbers
    value = orjson.loads(encode_payload(given))
    assert (value["session_id"], value["user_id"], value["email"]) == ("ps_1", str(2**70), None)


def test_a_text_that_was_cut_inside_an_emoji_is_mended_and_an_id_is_not() -> None:
    cut = payload("half an emoji \ud83d", "whole")
    assert [a["description"] for a in orjson.loads(encode_payload(cut))["actions"]] == ["half an emoji ?", "whole"]
    with pytest.raises(Unencodable, match="user_id"):
        encode_payload(payload(user="half \ud83d"))
    with pytest.raises(Unencodable, match="session_id"):
        session_key(payload(session="half \ud83d"))


def test_what_json_cannot_hold_is_refused() -> None:
    odd: Any = payload("a")
    odd.actions[0].title = object()
    with pytest.raises(Unencodable, match="cannot be written as JSON"):
        encode_payload(odd)


# --- the queue ---


def test_a_payload_is_keyed_by_its_session(outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]) -> None:
    publisher = opened()
    publisher.add(payload("a", session="s1"))
    publisher.add(payload("b", session="s2"))
    publisher.flush()
    assert [key for key, _ in outlet.taken] == [b"s1", b"s2"]
    assert publisher.stats == type(publisher.stats)(added=2, waiting=0, failed=0, dropped=0, without_session=0)


@pytest.mark.parametrize("session", [None, "", " "])
def test_a_payload_without_a_session_is_counted(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher], session: str | None
) -> None:
    publisher = opened()
    publisher.add(payload("a", session=session))
    publisher.flush()
    assert (outlet.taken, publisher.stats.without_session) == ([], 1)


def test_add_waits_while_the_queue_is_full(outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]) -> None:
    publisher = opened("wait")
    outlet.room, outlet.stuck = 1, True
    publisher.add(payload("a"))
    adding = threading.Thread(target=publisher.add, args=(payload("b"),))
    adding.start()
    adding.join(0.1)
    assert adding.is_alive()
    outlet.stuck = False
    adding.join(10)
    assert not adding.is_alive()
    assert len(outlet.taken) == 2


def test_a_full_queue_drops_or_raises_where_that_was_chosen(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]
) -> None:
    outlet.room, outlet.stuck = 0, True
    dropping, raising = opened("drop"), opened("raise")
    dropping.add(payload("a"))
    assert (dropping.stats.dropped, dropping.stats.added) == (1, 0)
    with pytest.raises(QueueIsFull, match="delivery to t"):
        raising.add(payload("a"))


def test_an_unknown_choice_is_refused(outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]) -> None:
    with pytest.raises(ValueError, match="wait, drop or raise"):
        opened("block")


# --- failures ---


def test_a_failed_delivery_is_counted_told_and_raised_once(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]
) -> None:
    told: list[Failure] = []
    publisher = opened(on_failure=told.append)
    outlet.fail_with = KafkaError(KafkaError._MSG_TIMED_OUT)
    given = payload("a")
    publisher.add(given)
    with pytest.raises(NotDelivered, match="1 payloads were not delivered") as raised:
        publisher.flush()
    assert (raised.value.failed, raised.value.waiting) == (1, 0)
    assert [(failure.subject, failure.refused) for failure in told] == [(given, False)]
    outlet.fail_with = None
    publisher.add(payload("b"))
    publisher.flush()  # what was raised is not raised again
    assert (publisher.stats.added, publisher.stats.failed) == (2, 1)


def test_a_failure_is_told_without_a_flush(outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]) -> None:
    told = threading.Event()
    publisher = opened(on_failure=lambda _failure: told.set())
    outlet.fail_with = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    publisher.add(payload("a"))
    assert told.wait(10)


def test_a_payload_that_the_client_refuses_is_told_and_the_next_one_goes_out(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]
) -> None:
    told: list[Failure] = []
    publisher = opened(on_failure=told.append)
    outlet.refuse_at_once = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
    publisher.add(payload("too large"))
    publisher.add(payload(user="half \ud83d"))
    assert [failure.refused for failure in told] == [True, True]
    outlet.refuse_at_once = None
    publisher.add(payload("a"))
    with pytest.raises(NotDelivered, match="2 payloads"):
        publisher.flush()
    assert len(outlet.taken) == 1


def test_a_client_that_cannot_go_on_is_an_error(outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]) -> None:
    publisher = opened()
    outlet.refuse_at_once = KafkaError(KafkaError._FATAL)
    with pytest.raises(Exception, match="writing to t"):
        publisher.add(payload("a"))


def test_a_callback_that_fails_does_not_stop_the_publisher(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher], caplog: pytest.LogCaptureFixture
) -> None:
    told: list[Failure] = []

    def complain(failure: Failure) -> None:
        told.append(failure)
        raise RuntimeError("mine")

    publisher = opened(on_failure=complain)
    outlet.fail_with = KafkaError(KafkaError._MSG_TIMED_OUT)
    for text in ("a", "b"):
        publisher.add(payload(text))
        with pytest.raises(NotDelivered):
            publisher.flush()
    assert len(told) == 2
    assert "on_failure raised" in caplog.text


def test_unless_told_otherwise_it_warns_now_and_then_and_names_nobody(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    complain = Complaint(lambda: now[0])
    failure = Failure(payload("secret", user="alice"), "timed out", refused=False)
    with caplog.at_level(logging.WARNING):
        for at in (0.0, 1.0, 2.0, 31.0):
            now[0] = at
            complain(failure)
    assert [record.message for record in caplog.records] == [
        "1 payloads were not delivered: timed out",
        "3 payloads were not delivered: timed out",
    ]


def test_what_has_no_answer_in_time_is_an_error(outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]) -> None:
    publisher = opened()
    outlet.stuck = True
    publisher.add(payload("a"))
    with pytest.raises(NotDelivered, match="1 still wait") as raised:
        publisher.flush(0)
    assert raised.value.waiting == 1


# --- the end ---


def test_closing_delivers_and_then_nothing_is_taken(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]
) -> None:
    with opened() as publisher:
        publisher.add(payload("a"))
    assert (len(outlet.taken), len(outlet)) == (1, 0)
    publisher.close()
    with pytest.raises(RuntimeError, match="closed"):
        publisher.add(payload("b"))


def test_an_error_inside_the_with_is_not_hidden_by_a_failed_delivery(
    outlet: FakeOutlet, opened: Callable[..., ActionsPublisher]
) -> None:
    def use(error: Exception | None) -> None:
        with opened() as publisher:
            publisher.add(payload("a"))
            if error is not None:
                raise error

    outlet.fail_with = KafkaError(KafkaError._MSG_TIMED_OUT)
    with pytest.raises(KeyError):
        use(KeyError("mine"))
    with pytest.raises(NotDelivered):
        use(None)


# --- for asyncio ---


def test_the_async_face_waits_for_room_without_blocking_the_loop_and_keeps_the_order(outlet: FakeOutlet) -> None:
    async def scenario() -> list[str]:
        publisher = AsyncActionsPublisher.over(ActionsPublisher.over(outlet, "t"))
        outlet.room, outlet.stuck = 1, True
        async with publisher:
            await publisher.add(payload("first", session="0"))
            adding = [asyncio.ensure_future(publisher.add(payload("a", session=str(n)))) for n in range(1, 5)]
            for _ in range(100):  # the loop goes round while they wait
                await asyncio.sleep(0)
            assert not any(task.done() for task in adding)
            outlet.stuck = False
            await asyncio.wait_for(asyncio.gather(*adding), 10)
            await publisher.flush()
        assert publisher.stats.added == 5
        return [key.decode() for key, _ in outlet.taken]

    assert asyncio.run(scenario()) == ["0", "1", "2", "3", "4"]


def test_the_async_face_raises_what_was_not_delivered(outlet: FakeOutlet) -> None:
    async def scenario() -> None:
        async with AsyncActionsPublisher.over(ActionsPublisher.over(outlet, "t")) as publisher:
            await publisher.add(payload("a", session=None))
            await publisher.add(payload("a"))

    outlet.fail_with = KafkaError(KafkaError._MSG_TIMED_OUT)
    with pytest.raises(NotDelivered):
        asyncio.run(scenario())
