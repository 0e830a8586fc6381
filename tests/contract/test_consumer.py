"""The consumer: where it starts, what it commits, and what its callbacks are told."""

from __future__ import annotations

import pytest

from tests.contract.seam import PATIENCE_S, Membership, Seam, end_of, fill
from worker.kafka import OFFSET_INVALID, KafkaError, KafkaException, Message, TopicPartition


def numbers(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def test_it_starts_exactly_where_the_assignment_says(seam: Seam) -> None:
    partition = fill(seam, 5)
    member = Membership(seam, starts={partition: 3})
    messages = member.read(2)
    assert [(message.offset(), message.value()) for message in messages] == [(3, b"3"), (4, b"4")]
    assert [message.error() for message in messages] == [None, None]
    member.consumer.close()


def test_a_message_tells_everything_and_is_false_when_it_is_empty(seam: Seam) -> None:
    producer = seam.clients.producer(lambda *_: None)
    producer.produce(seam.topic, b"", b"key", headers=[("name", b"value"), ("name", None)])
    producer.produce(seam.topic, None, b"key")
    assert producer.flush(PATIENCE_S) == 0
    member = Membership(seam)
    empty, null = member.read(2)
    assert (empty.key(), empty.value(), null.value()) == (b"key", b"", None)
    assert empty.headers() == [("name", b"value"), ("name", None)]
    assert null.headers() is None
    assert not empty
    assert not null
    kind, milliseconds = empty.timestamp()
    assert (kind, milliseconds > 1_600_000_000_000) == (2, True), "LogAppendTime"
    member.consumer.close()


def test_consume_takes_what_is_there(seam: Seam) -> None:
    fill(seam, 5)
    member = Membership(seam)
    [first] = member.read(1)
    rest: list[Message] = []
    while len(rest) < 4:
        rest += member.consumer.consume(100, 0)
    assert numbers([first, *rest]) == [b"0", b"1", b"2", b"3", b"4"]
    assert member.consumer.consume(100, 0) == []
    member.consumer.close()


def test_the_position_is_unknown_until_something_was_read(seam: Seam) -> None:
    partition = fill(seam, 3)
    member = Membership(seam)
    member.read(2)
    assert member.position(partition) == 2
    assert member.position(1 - partition) == OFFSET_INVALID
    member.consumer.close()


def test_seek_reads_again_and_forgets_the_position(seam: Seam) -> None:
    """Else a task that is restored would be taken for one that has caught up."""
    partition = fill(seam, 5)
    member = Membership(seam)
    member.read(4)
    member.consumer.seek(TopicPartition(seam.topic, partition, 1))
    assert member.position(partition) == OFFSET_INVALID
    assert numbers(member.read(4)) == [b"1", b"2", b"3", b"4"]
    member.consumer.close()


def test_a_partition_that_is_not_assigned_cannot_be_sought(seam: Seam) -> None:
    member = Membership(seam)
    with pytest.raises(KafkaException):
        member.consumer.seek(TopicPartition(seam.topic, 77, 0))
    member.consumer.close()


def test_an_offset_outside_of_the_log_is_an_event_and_no_reset(seam: Seam) -> None:
    partition = fill(seam, 3)
    member = Membership(seam, starts={partition: 100})
    [event] = member.read(1)
    error = event.error()
    assert error is not None
    assert error.code() == KafkaError._AUTO_OFFSET_RESET
    assert (event.topic(), event.partition()) == (seam.topic, partition)
    member.consumer.close()


def test_what_is_committed_comes_back_with_its_metadata(seam: Seam) -> None:
    member = Membership(seam)
    metadata = '{"v":1,"text":"ü"}'
    result = member.consumer.commit(offsets=[TopicPartition(seam.topic, 0, 7, metadata)], asynchronous=False)
    assert result is not None
    assert [(item.partition, item.offset, item.error) for item in result] == [(0, 7, None)]
    asked = [TopicPartition(seam.topic, partition) for partition in (0, 1)]
    answers = member.consumer.committed(asked, timeout=PATIENCE_S)
    assert [(item.partition, item.offset, item.metadata) for item in answers] == [
        (0, 7, metadata),
        (1, OFFSET_INVALID, None),
    ]
    member.consumer.close()


def test_asynchronous_commits_are_answered_in_order_inside_poll(seam: Seam) -> None:
    member = Membership(seam)
    for offset in (1, 2, 3):
        member.consumer.commit(offsets=[TopicPartition(seam.topic, 0, offset, str(offset))], asynchronous=True)
    assert member.committed == []
    member.wait(lambda: len(member.committed) == 3)
    assert member.committed == [(None, [(0, offset, str(offset))]) for offset in (1, 2, 3)]
    member.consumer.close()


def test_a_commit_that_waits_comes_after_those_that_do_not(seam: Seam) -> None:
    member = Membership(seam)
    member.consumer.commit(offsets=[TopicPartition(seam.topic, 0, 5)], asynchronous=True)
    member.consumer.commit(offsets=[TopicPartition(seam.topic, 0, 3)], asynchronous=False)
    [answer] = member.consumer.committed([TopicPartition(seam.topic, 0)], timeout=PATIENCE_S)
    assert answer.offset == 3
    member.wait(lambda: len(member.committed) == 1)
    member.consumer.close()


def test_known_watermarks_follow_what_was_fetched_and_of_others_nothing_is_known(seam: Seam) -> None:
    partition = fill(seam, 3)
    member = Membership(seam)
    member.read(3)
    assert member.consumer.get_watermark_offsets(TopicPartition(seam.topic, partition), cached=True)[1] == 3
    assert member.consumer.get_watermark_offsets(TopicPartition(seam.topic, 77), cached=True) == (
        OFFSET_INVALID,
        OFFSET_INVALID,
    )
    member.consumer.close()


def test_close_revokes_what_is_assigned(seam: Seam) -> None:
    member = Membership(seam)
    member.consumer.close()
    assert sorted(member.revoked) == [0, 1]


def test_who_unsubscribes_and_subscribes_again_is_given_partitions_again(seam: Seam) -> None:
    partition = fill(seam, 2)
    member = Membership(seam)
    member.read(2)
    member.consumer.unsubscribe()
    member.consumer.subscribe(
        [seam.topic], on_assign=member._on_assign, on_revoke=member._on_revoke, on_lost=member._on_revoke
    )
    member.wait(lambda: len(member.assigned) == 4)
    assert sorted(member.revoked) == [0, 1]
    again = member.read(2)
    assert [(message.partition(), message.value()) for message in again] == [(partition, b"0"), (partition, b"1")]
    member.consumer.close()


def test_what_a_callback_does_not_assign_the_client_assigns_and_its_error_comes_out_of_poll(seam: Seam) -> None:
    """Why callbacks never raise: the records would be read without a task."""
    partition = fill(seam, 2)
    consumer = seam.clients.consumer(lambda *_: None)

    def fails(*_: object) -> None:
        raise RuntimeError("in a callback")

    def nothing(*_: object) -> None:
        """What is not done here, the client does."""

    consumer.subscribe([seam.topic], on_assign=fails, on_revoke=nothing, on_lost=nothing)
    with pytest.raises(RuntimeError, match="in a callback"):
        consumer.poll(PATIENCE_S)
    consumer.incremental_unassign([TopicPartition(seam.topic, partition)])
    consumer.close()


def test_a_second_member_is_given_its_share(seam: Seam, gap_of_the_fake: None) -> None:
    first = Membership(seam)
    second = Membership(seam, waits=False)

    def shared() -> bool:
        second.consumer.poll(0.01)
        assert len(second.assigned) <= 1
        return len(second.assigned) == 1

    first.wait(shared)
    assert first.revoked == second.assigned
    first.consumer.close()
    second.consumer.close()


def test_the_reader_says_where_a_partition_ends(seam: Seam) -> None:
    partition = fill(seam, 2)
    reader = seam.clients.reader()
    reader.assign([TopicPartition(seam.topic, partition, 1)])
    came: list[Message] = []
    while len(came) < 2:
        message = reader.poll(0.1)
        if message is not None:
            came.append(message)
    record, end = came
    error = end.error()
    assert record.value() == b"1"
    assert error is not None
    assert (error.code(), end.offset()) == (KafkaError._PARTITION_EOF, 2)
    reader.close()


def test_the_end_of_a_log_is_the_next_offset(seam: Seam) -> None:
    partition = fill(seam, 2)
    assert (end_of(seam, partition), end_of(seam, 1 - partition)) == (2, 0)
