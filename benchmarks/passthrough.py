"""The limit of the client: bytes in, bytes out, at least once. `python -m benchmarks.passthrough --help`.

Each topic is copied to the next by one consumer and one idempotent producer, uncompressed, with the client's defaults:
what Kafka alone costs. With `--flush` every batch goes out at once, as the worker does with small batches, and fetching
is tuned like the worker's.
"""

from __future__ import annotations

import argparse
import signal
import time
from itertools import pairwise

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

COMMIT_INTERVAL_S = 0.25
BATCH = 2000
PROMPT = {
    "fetch.wait.max.ms": 100,
    "fetch.queue.backoff.ms": 5,
    "queued.min.messages": 10_000,
    "queued.max.messages.kbytes": 16_384,
    "heartbeat.interval.ms": 1000,
}


class PassThrough:
    """Copies until told to stop."""

    def __init__(self, bootstrap_servers: str, group_id: str, topics: list[str], *, flush: bool) -> None:
        self._next = dict(pairwise(topics))
        self._flush = flush
        self._failed: list[KafkaError] = []
        self._stopping = False
        self._positions: dict[tuple[str, int], int] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group_id,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "earliest",
                **(PROMPT if flush else {}),
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "queue.buffering.max.messages": 200_000,
                "on_delivery": self._delivered,
            }
        )

    def stop(self) -> None:
        """Finish the batch and leave."""
        self._stopping = True

    def run(self) -> None:
        """Copy until stopped.

        Raises:
            KafkaException: a record was not delivered.
        """
        self._consumer.subscribe(list(self._next), on_assign=lambda *_: print("assigned", flush=True))
        committed = time.monotonic()
        while not self._stopping:
            first = self._consumer.poll(0.05)
            if first is not None:
                self._copy([first, *self._consumer.consume(BATCH - 1, 0)])
            self._producer.poll(0)
            if time.monotonic() - committed >= COMMIT_INTERVAL_S:
                self._commit()
                committed = time.monotonic()
        self._commit()
        self._consumer.close()

    def _copy(self, messages: list[Message]) -> None:
        for message in messages:
            error = message.error()
            if error is not None:
                raise KafkaException(error)
            topic, partition, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
            self._send(self._next[topic], message)
            self._positions[topic, partition] = offset + 1
        if self._flush:
            self._producer.flush()

    def _send(self, topic: str, message: Message) -> None:
        while True:
            try:
                self._producer.produce(topic, message.value(), message.key())
            except BufferError:
                self._producer.poll(0.05)
            else:
                return

    def _commit(self) -> None:
        self._producer.flush()
        if self._failed:
            raise KafkaException(self._failed[0])
        if self._positions:
            offsets = [TopicPartition(*where, offset) for where, offset in self._positions.items()]
            self._consumer.commit(offsets=offsets, asynchronous=False)
            self._positions = {}

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)


def main() -> None:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bootstrap_servers")
    parser.add_argument("group_id")
    parser.add_argument("topics", nargs="+", help="from the first to the second, from there to the third, and so on")
    parser.add_argument("--flush", action="store_true", help="send every batch at once")
    given = parser.parse_args()
    copier = PassThrough(given.bootstrap_servers, given.group_id, given.topics, flush=given.flush)
    signal.signal(signal.SIGTERM, lambda *_: copier.stop())
    copier.run()


if __name__ == "__main__":
    main()
