"""What a consumer group has committed, asked as a consumer that never joins.

The admin client's own question for it ends the process with a segmentation fault where the group's coordinator is new
or moves (librdkafka 2.16.0, measured), so nobody asks that way.
"""

from __future__ import annotations

import time

from worker.errors import Retriable
from worker.kafka import Admin, Consumer, KafkaException, Meaning, TopicPartition, meaning_of, reader_config, translate

PATIENCE_S = 10.0  # a coordinator that is loading answers within a few seconds
ATTEMPT_S = 2.5
RETRY_S = 0.2


def committed_offsets(admin: Admin, group_id: str, partitions: list[TopicPartition]) -> list[TopicPartition]:
    """Offset and metadata of each partition; a negative offset = nothing is committed.

    Raises:
        KafkaException: the broker does not answer for ten seconds, or refuses.
    """
    asking = Consumer({**reader_config(admin.settings), "group.id": group_id})
    deadline = time.monotonic() + PATIENCE_S
    try:
        while True:
            try:
                return _ask(asking, partitions)
            except KafkaException as exc:
                _raise_refusal(asking)
                may_pass = isinstance(translate(exc, "reading offsets", running=True), Retriable)
                if not may_pass or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_S)
    finally:
        asking.close()


def _raise_refusal(asking: Consumer) -> None:
    """Without a right to the group the coordinator is never found: the question times out, and an event says why."""
    while (message := asking.poll(0)) is not None:
        error = message.error()
        if error is not None and meaning_of(error) is Meaning.NOT_AUTHORIZED:
            raise KafkaException(error)


def _ask(asking: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
    found = asking.committed(partitions, timeout=ATTEMPT_S)
    refused = next((one.error for one in found if one.error is not None), None)
    if refused is not None:
        raise KafkaException(refused)
    return found
