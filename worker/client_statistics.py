"""What librdkafka says of itself, as far as it matters: round trips and queues.

The clients hand their statistics over inside of the loop's poll and flush, so there the text is only kept; it is parsed
when somebody looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import orjson

STATISTICS_MS = 10_000
PERCENTILES = ("50", "99")


class RoundTrip(NamedTuple):
    """Of a client's requests to a broker, in seconds."""

    client: str
    broker: str
    percentile: str
    seconds: float


class Queue(NamedTuple):
    """What a client holds."""

    client: str
    records: int
    size_bytes: int


class ClientStatistics:
    """The newest statistics of each kind of client."""

    def __init__(self) -> None:
        self._newest: dict[str, str] = {}

    def keeper(self, client: str) -> Callable[[str], None]:
        """What a client's `stats_cb` is set to."""

        def keep(text: str) -> None:
            self._newest[client] = text

        return keep

    def round_trips(self) -> Iterator[RoundTrip]:
        """Of the brokers that were talked to since the statistics before."""
        for client, document in self._documents():
            for broker in document.get("brokers", {}).values():
                rtt = broker.get("rtt", {})
                if broker.get("nodeid", -1) >= 0 and rtt.get("cnt", 0):
                    for percentile in PERCENTILES:
                        yield RoundTrip(client, str(broker["nodeid"]), percentile, rtt[f"p{percentile}"] / 1e6)

    def queues(self) -> Iterator[Queue]:
        """What the producer has not delivered, and what the consumer has fetched and nobody has read."""
        for client, document in self._documents():
            partitions = [
                partition
                for topic in document.get("topics", {}).values()
                for partition in topic.get("partitions", {}).values()
            ]
            records = document.get("msg_cnt", 0) + sum(each.get("fetchq_cnt", 0) for each in partitions)
            size = document.get("msg_size", 0) + sum(each.get("fetchq_size", 0) for each in partitions)
            yield Queue(client, records, size)

    def _documents(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for client, text in sorted(dict(self._newest).items()):
            yield client, orjson.loads(text)
