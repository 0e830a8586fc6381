"""Where it is kept which dead letters were sent again: the committed offsets of a group that nobody ever joins.

The broker forgets them when nothing was committed for `offsets.retention.minutes` (a week).
"""

from __future__ import annotations

from collections.abc import Mapping

from worker.dlq.ledger import Mark
from worker.group_offsets import committed_offsets
from worker.kafka import Admin, ConsumerGroupTopicPartitions, KafkaException, TopicPartition, translate
from worker.settings import Settings
from worker.topic_policy import Topic
from worker.topics import REQUEST_TIMEOUT_S


class RetryGroup:
    """Reads and commits the marks of the partitions of one dead-letter topic."""

    def __init__(self, admin: Admin, settings: Settings, topic: Topic) -> None:
        self.name = f"{settings.group_id}-dlq-retry"
        self._admin = admin
        self._topic = topic

    def marks(self) -> dict[int, Mark]:
        """Of every partition.

        Raises:
            WorkerError: the broker does not answer, or refuses.
        """
        asked = [TopicPartition(self._topic.name, number) for number in range(self._topic.partitions)]
        try:
            answer = committed_offsets(self._admin, self.name, asked)
        except KafkaException as exc:
            raise translate(exc, f"reading the offsets of group {self.name}") from exc
        return {one.partition: Mark.read(one.offset if one.offset >= 0 else None, one.metadata) for one in answer}

    def commit(self, marks: Mapping[int, Mark]) -> None:
        """Keep these.

        Raises:
            WorkerError: the broker does not answer, or refuses.
        """
        offsets = [
            TopicPartition(self._topic.name, number, mark.next_offset, mark.metadata())
            for number, mark in marks.items()
        ]
        request = [ConsumerGroupTopicPartitions(self.name, offsets)]
        try:
            futures = self._admin.alter_consumer_group_offsets(request, request_timeout=REQUEST_TIMEOUT_S)
            answer = futures[self.name].result()
        except KafkaException as exc:
            raise translate(exc, f"committing offsets of group {self.name}") from exc
        for one in answer.topic_partitions or []:
            if one.error is not None:
                raise translate(one.error, f"committing offsets of group {self.name}")
