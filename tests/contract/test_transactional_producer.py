"""The transactional producer: what is seen when, and how it ends."""

from __future__ import annotations

import os

import pytest

from tests.contract.seam import MAX_BYTES, PARTITIONS, PATIENCE_S, Deliveries, Membership, Seam
from worker.kafka import KafkaError, KafkaException, TopicPartition, error_of
from worker.runtime.clients import TransactionalProducerLike

SHORT_S = 1.0


def new_producer(
    seam: Seam, *, one_by_one: bool = False, deliveries: Deliveries | None = None
) -> TransactionalProducerLike:
    producer = seam.clients.transactional_producer(deliveries or Deliveries(), one_by_one=one_by_one)
    producer.init_transactions(PATIENCE_S)
    return producer


def committed(member: Membership, seam: Seam, timeout: float = PATIENCE_S) -> list[tuple[int, str | None]]:
    asked = [TopicPartition(seam.topic, partition) for partition in range(PARTITIONS)]
    return [(answer.offset, answer.metadata) for answer in member.consumer.committed(asked, timeout=timeout)]


def test_records_and_positions_are_there_once_they_are_committed(seam: Seam) -> None:
    member, producer = Membership(seam), new_producer(seam)
    producer.begin_transaction()
    producer.produce(seam.topic, b"value", b"key", headers=[("name", b"value")])
    assert producer.flush(PATIENCE_S) == 0
    assert seam.all_values() == []
    positions = [TopicPartition(seam.topic, partition, 7 + partition, '{"v":1}') for partition in range(PARTITIONS)]
    producer.send_offsets_to_transaction(positions, member.consumer.consumer_group_metadata(), PATIENCE_S)
    producer.commit_transaction(PATIENCE_S)
    assert seam.all_values() == [b"value"]
    assert committed(member, seam) == [(7, '{"v":1}'), (8, '{"v":1}')]
    [record] = member.read(1)
    member.wait(lambda: member.position(record.partition() or 0) == 2)  # behind the marker
    member.consumer.close()


def test_positions_may_come_without_records(seam: Seam) -> None:
    member, producer = Membership(seam), new_producer(seam)
    for offset in (1, 2):
        producer.begin_transaction()
        positions = [TopicPartition(seam.topic, 0, offset)]
        producer.send_offsets_to_transaction(positions, member.consumer.consumer_group_metadata(), PATIENCE_S)
        producer.commit_transaction(PATIENCE_S)
        assert committed(member, seam)[0][0] == offset
    member.consumer.close()


def test_to_begin_again_tells_that_nothing_has_failed_and_changes_nothing(seam: Seam) -> None:
    producer = new_producer(seam)
    producer.begin_transaction()
    producer.produce(seam.topic, b"value", b"key")
    with pytest.raises(KafkaException) as well:
        producer.begin_transaction()
    assert error_of(well.value).code() == KafkaError._STATE
    producer.commit_transaction(PATIENCE_S)
    assert seam.all_values() == [b"value"]


def test_what_is_aborted_is_never_seen_and_the_producer_goes_on(seam: Seam) -> None:
    producer = new_producer(seam)
    producer.begin_transaction()
    producer.produce(seam.topic, b"aborted", b"key")
    producer.flush(PATIENCE_S)
    producer.abort_transaction(PATIENCE_S)
    producer.begin_transaction()
    producer.produce(seam.topic, b"committed", b"key")
    producer.commit_transaction(PATIENCE_S)
    assert seam.all_values() == [b"committed"]


def test_the_next_producer_ends_what_the_one_before_has_open(seam: Seam) -> None:
    """Until then nobody is told what is committed."""
    member, first = Membership(seam), new_producer(seam)
    first.begin_transaction()
    first.produce(seam.topic, b"stale", b"key")
    first.flush(PATIENCE_S)
    metadata = member.consumer.consumer_group_metadata()
    first.send_offsets_to_transaction([TopicPartition(seam.topic, 0, 7)], metadata, PATIENCE_S)
    with pytest.raises(KafkaException) as unknown:
        committed(member, seam, SHORT_S)
    assert error_of(unknown.value).code() == KafkaError._TIMED_OUT

    second = new_producer(seam)
    assert committed(member, seam)[0][0] < 0
    with pytest.raises(KafkaException) as fenced:
        first.commit_transaction(PATIENCE_S)
    assert error_of(fenced.value).fatal()
    second.begin_transaction()
    second.produce(seam.topic, b"fresh", b"key")
    second.commit_transaction(PATIENCE_S)
    assert seam.all_values() == [b"fresh"]
    member.consumer.close()


def test_a_refused_record_ends_the_transaction(seam: Seam) -> None:
    deliveries = Deliveries()
    producer = new_producer(seam, deliveries=deliveries)
    producer.begin_transaction()
    producer.produce(seam.topic, os.urandom(MAX_BYTES + 1000), b"key")
    assert producer.flush(PATIENCE_S) == 0
    assert [code for code, _ in deliveries.failed] == [KafkaError.MSG_SIZE_TOO_LARGE]
    with pytest.raises(KafkaException) as ended:
        producer.produce(seam.topic, b"value", b"key")
    assert error_of(ended.value).code() == KafkaError._STATE
    with pytest.raises(KafkaException) as cause:
        producer.begin_transaction()
    assert error_of(cause.value).code() == KafkaError.MSG_SIZE_TOO_LARGE
    with pytest.raises(KafkaException) as refused:
        producer.commit_transaction(PATIENCE_S)
    assert error_of(refused.value).txn_requires_abort()
    producer.abort_transaction(PATIENCE_S)
    assert seam.all_values() == []


def test_records_that_travel_alone_are_refused_alone(seam: Seam) -> None:
    deliveries = Deliveries()
    producer = new_producer(seam, one_by_one=True, deliveries=deliveries)
    large = os.urandom(MAX_BYTES + 1000)
    producer.begin_transaction()
    for value in (b"before", large, b"after"):
        producer.produce(seam.topic, value, b"key")
    producer.flush(SHORT_S)
    assert (KafkaError.MSG_SIZE_TOO_LARGE, large) in deliveries.failed
    assert len([code for code, _ in deliveries.failed if code == KafkaError.MSG_SIZE_TOO_LARGE]) == 1
    producer.abort_transaction(PATIENCE_S)


def test_positions_of_nobody_are_taken_whoever_is_in_the_group(seam: Seam) -> None:
    """So a member makes sure that it is somebody. (Classic group protocol; a member that is known is checked.)"""
    member, producer = Membership(seam), new_producer(seam)
    nobody = seam.clients.consumer(lambda *_: None)
    assert not nobody.memberid()
    assert member.consumer.memberid()
    producer.begin_transaction()
    positions = [TopicPartition(seam.topic, 0, 99)]
    producer.send_offsets_to_transaction(positions, nobody.consumer_group_metadata(), PATIENCE_S)
    producer.commit_transaction(PATIENCE_S)
    assert committed(member, seam)[0][0] == 99
    nobody.close()
    member.consumer.close()
