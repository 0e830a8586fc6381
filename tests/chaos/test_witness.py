"""The witness says where it cannot get on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Producer

from tests.acceptance.topic_log import create_topic
from tests.chaos.witness import Witness

ENOUGH_S = 30.0


def test_an_output_that_cannot_be_read_to_its_end_is_told(kafka: str, unique: Callable[[str], str]) -> None:
    topic = unique("output")
    create_topic(kafka, topic, partitions=1, config={})
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": unique("open")})
    producer.init_transactions(ENOUGH_S)
    producer.begin_transaction()
    producer.produce(topic, b"{}", b"alice")
    producer.flush(ENOUGH_S)
    witness = Witness(kafka, [topic], topic, 1)
    witness.start()
    with pytest.raises(AssertionError, match=rf"{topic}\[0\] cannot be read beyond offset 0 of 1"):
        witness.close(patience_s=1.0)
    producer.abort_transaction(ENOUGH_S)
