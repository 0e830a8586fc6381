"""The dead letters that stand on the topic now."""

from __future__ import annotations

from collections.abc import Iterator

from worker.dlq.letter import Letter, letter_of
from worker.kafka import OFFSET_BEGINNING
from worker.settings import Settings
from worker.topic_policy import Topic
from worker.topic_reader import TopicReader


def read_letters(settings: Settings, topic: Topic) -> Iterator[Letter | None]:
    """Every record from the start to the end, each partition in order; None for one that is no dead letter of ours.

    Raises:
        WorkerError: the broker does not answer, or refuses.
    """
    with TopicReader(settings, topic.name) as reader:
        for message in reader.to_end(dict.fromkeys(range(topic.partitions), OFFSET_BEGINNING)):
            yield letter_of(message)
