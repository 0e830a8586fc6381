"""Records that the broker refuses for themselves: alone a dead letter, and never a reason to stand still."""

from __future__ import annotations

import orjson
import pytest

from schemas.dead_letter import own_headers
from tests.unit.runtime.member import (
    DLQ,
    HOP,
    INPUT,
    OUTPUT,
    FakeMember,
    committed,
    dead_letters,
    new_broker,
    records,
    send,
    texts,
)
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError


def test_a_value_that_cannot_be_read_is_a_dead_letter_as_it_was_received() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    headers: list[tuple[str, bytes | None]] = [("trace", b"1"), ("trace", None)]
    broker.append(INPUT, b"\xff key", b"\xff value", headers=headers)
    send(broker)
    member.settle()
    [(letter, key, value)] = dead_letters(broker)
    assert (key, value) == (b"\xff key", b"\xff value")
    assert (letter.source_topic, letter.source_partition, letter.source_offset) == (INPUT, 0, 0)
    assert letter.reason
    received = broker.records(DLQ)[0].headers()
    assert list(own_headers(received)) == headers  # type: ignore[arg-type]
    assert texts(broker) == ["Pay"]


def test_an_empty_value_is_a_dead_letter_and_a_null_value_is_skipped() -> None:
    """The client's message is false for both."""
    broker = new_broker()
    member = FakeMember(broker)
    broker.append(INPUT, b"k", b"")
    broker.append(INPUT, b"k", None)
    member.settle()
    assert [value for _, _, value in dead_letters(broker)] == [b""]
    assert member.count("skipped", "null_value") == 1
    assert committed(broker) == 2


def test_a_value_too_large_for_the_next_topic_is_a_dead_letter() -> None:
    broker = new_broker()
    member = FakeMember(broker, limits={HOP: 50_000})
    send(broker, text="x" * 60_000)
    send(broker)
    member.settle()
    assert [(letter.reason, letter.source_offset) for letter, _, _ in dead_letters(broker)] == [("too_large", 0)]
    assert texts(broker) == ["Pay"]


def test_a_refused_record_alone_is_a_dead_letter_and_its_neighbours_are_delivered() -> None:
    """The broker refuses the whole batch that it travels in: the topic's limit was lowered while the member runs."""
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    broker.limits[HOP] = 50_000
    send(broker, text="small")
    send(broker, text="x" * 60_000)
    send(broker, text="y" * 30_000)
    member.settle()
    assert [(letter.reason, letter.source_offset) for letter, _, _ in dead_letters(broker)] == [("too_large", 1)]
    value = dead_letters(broker)[0][2]
    assert value is not None
    assert orjson.loads(value)["actions"][0]["description"] == "x" * 60_000, "as it was received"
    assert texts(broker) == ["small", "y" * 30_000]
    assert committed(broker) == 3


def test_a_refused_record_whose_source_is_not_kept_says_at_least_where_it_came_from() -> None:
    broker = new_broker(partitions=2)
    member = FakeMember(broker)
    member.turn()
    broker.limits[HOP] = 300
    send(broker, partition=1)
    send(broker, text="x" * 1000, partition=1)
    member.settle()
    [(letter, key, value)] = dead_letters(broker)
    assert (letter.source_partition, letter.source_offset) == (1, 1)
    assert (key, value) == (None, None), "our own form is nothing to send again"
    assert letter.value_omitted_bytes == 0, "and neither is a null value: a retry leaves it alone"
    assert texts(broker) == ["Pay"]


def test_a_user_record_that_its_topic_refuses_does_not_take_its_neighbours_with_it() -> None:
    broker = new_broker()
    member = FakeMember(broker, publish_interval_ms=1000)
    member.turn()
    broker.limits[OUTPUT] = 20_000
    send(broker, "ps_1", "amelie", text="x" * 30_000)
    send(broker, "ps_2", "bruno")
    member.settle()
    assert records(broker).keys() == {"bruno"}
    assert [letter.reason for letter, _, _ in dead_letters(broker)] == ["too_large"]
    assert committed(broker, HOP) == 2


def test_a_dead_letter_topic_that_is_too_small_gets_the_headers_only() -> None:
    broker = new_broker()
    member = FakeMember(broker, limits={DLQ: 20_000})
    broker.append(INPUT, b"key", b"{" + b"x" * 30_000)
    member.settle()
    [(letter, key, value)] = dead_letters(broker)
    assert (key, value, letter.value_omitted_bytes) == (b"key", None, 30_001)


def test_a_dead_letter_topic_that_became_too_small_gets_the_headers_only() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    broker.limits[DLQ] = 20_000
    broker.append(INPUT, b"key", b"{" + b"x" * 30_000)
    broker.append(INPUT, b"key", b"no json")
    member.settle()
    found = {
        letter.source_offset: (key, value, letter.value_omitted_bytes) for letter, key, value in dead_letters(broker)
    }
    assert found == {0: (b"key", None, 30_001), 1: (b"key", b"no json", None)}
    assert len(broker.records(DLQ)) == 2, "each once"
    assert committed(broker) == 2


def test_also_the_key_is_left_out_where_it_does_not_fit() -> None:
    broker = new_broker()
    member = FakeMember(broker)
    member.turn()
    broker.limits[DLQ] = 2_000
    broker.append(INPUT, b"k" * 3_000, b"no json", headers=[("large", b"h" * 3_000)])
    member.settle()
    [(letter, key, value)] = dead_letters(broker)
    assert (key, value, letter.value_omitted_bytes) == (None, None, 7)
    assert committed(broker) == 1


@pytest.mark.parametrize("told", [True, False], ids=["known at the start", "found out"])
def test_a_dead_letter_that_does_not_fit_at_all_ends_the_process(told: bool) -> None:
    broker = new_broker()
    member = FakeMember(broker, limits={DLQ: 100} if told else {})
    member.turn()
    broker.limits[DLQ] = 100
    broker.append(INPUT, b"key", b"no json")
    with pytest.raises(Fatal) as caught:
        member.settle()
    assert caught.value.exit_code is ExitCode.DEAD_LETTERS
    assert committed(broker) is None


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, ExitCode.NOT_AUTHORIZED),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, ExitCode.TOPIC_MISSING),
    ],
)
def test_dead_letters_that_cannot_be_written_end_the_process(code: int, exit_code: ExitCode) -> None:
    broker = new_broker()
    member = FakeMember(broker)
    broker.refuse_deliveries[DLQ] = code
    broker.append(INPUT, b"key", b"no json")
    with pytest.raises(Fatal) as caught:
        member.settle()
    assert caught.value.exit_code is exit_code
    assert committed(broker) is None
