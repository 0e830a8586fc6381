"""The producer: what is delivered, what is refused, and what is reported."""

from __future__ import annotations

import os

import pytest

from tests.contract.seam import MAX_BYTES, PATIENCE_S, Deliveries, Seam
from worker.kafka import KafkaError, KafkaException
from worker.partitioner import partition_of

TOO_LARGE = KafkaError.MSG_SIZE_TOO_LARGE


def incompressible(size: int) -> bytes:
    return os.urandom(size)


def test_what_was_flushed_is_in_the_log_in_order_and_a_good_delivery_is_not_reported(seam: Seam) -> None:
    deliveries = Deliveries()
    producer = seam.clients.producer(deliveries)
    own: list[object] = []
    for number in range(5):
        producer.produce(seam.topic, b"%d" % number, b"key", headers=[("name", b"value")])
    producer.produce(seam.topic, b"5", b"key", on_delivery=lambda error, _: own.append(error))
    assert producer.flush(PATIENCE_S) == 0
    assert len(producer) == 0
    assert seam.values(partition_of(b"key", 2)) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert (deliveries.failed, own) == ([], [])


def test_a_null_value_and_an_empty_one_are_not_the_same(seam: Seam) -> None:
    producer = seam.clients.producer(Deliveries())
    producer.produce(seam.topic, None, b"key")
    producer.produce(seam.topic, b"", b"key")
    assert producer.flush(PATIENCE_S) == 0
    assert seam.all_values() == [None, b""]


def test_a_record_that_is_too_large_takes_its_batch_with_it_and_nothing_else(seam: Seam) -> None:
    deliveries = Deliveries()
    producer = seam.clients.producer(deliveries)
    large = incompressible(MAX_BYTES + 1000)
    for value in (b"before", large, b"after"):
        producer.produce(seam.topic, value, b"key")
    assert producer.flush(PATIENCE_S) == 0
    assert (TOO_LARGE, large) in deliveries.failed
    assert {code for code, _ in deliveries.failed} == {TOO_LARGE}
    got_through = [value for value in seam.all_values() if value is not None]
    refused = [value for _, value in deliveries.failed if value is not None]
    assert sorted(got_through + refused) == sorted([b"before", large, b"after"])

    producer.produce(seam.topic, b"alone", b"key")
    assert producer.flush(PATIENCE_S) == 0
    assert b"alone" in seam.all_values(), "the producer goes on"


def test_a_record_that_the_client_itself_does_not_take_is_refused_at_once(seam: Seam) -> None:
    producer = seam.clients.producer(Deliveries())
    with pytest.raises(KafkaException) as caught:
        producer.produce(seam.topic, bytes(12_000_000), b"key")
    assert caught.value.args[0].code() == TOO_LARGE
    assert len(producer) == 0


def test_a_failed_delivery_is_reported_to_its_own_callback_and_without_headers(seam: Seam) -> None:
    deliveries = Deliveries()
    producer = seam.clients.producer(deliveries)
    own: list[object] = []
    large = incompressible(MAX_BYTES + 1000)
    producer.produce(
        seam.topic,
        large,
        b"key",
        headers=[("name", b"value")],
        on_delivery=lambda _, message: own.append(message.headers()),
    )
    assert producer.flush(PATIENCE_S) == 0
    assert (own, deliveries.failed) == ([None], [])


def test_what_is_purged_is_not_delivered_and_reported_as_purged(seam: Seam) -> None:
    deliveries = Deliveries()
    producer = seam.clients.producer(deliveries)
    missing = f"{seam.topic}-missing"  # stays in the queue: nobody knows its partitions
    producer.produce(missing, b"value", b"key")
    assert len(producer) == 1
    producer.purge()
    producer.flush(0)
    assert len(producer) == 0
    assert [code for code, _ in deliveries.failed] == [KafkaError._PURGE_QUEUE]
    assert seam.all_values() == []


def test_keys_go_where_kafkas_own_producers_put_them(seam: Seam) -> None:
    producer = seam.clients.producer(Deliveries())
    producer.produce(seam.topic, b"0", b"alice")
    producer.produce(seam.topic, b"1", b"user_456")
    assert producer.flush(PATIENCE_S) == 0
    assert (seam.values(partition_of(b"alice", 2)), seam.values(partition_of(b"user_456", 2))) == ([b"0"], [b"1"])
