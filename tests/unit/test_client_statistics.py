"""What of librdkafka's statistics is shown."""

from __future__ import annotations

import orjson

from worker.client_statistics import ClientStatistics, Queue, RoundTrip

CONSUMER = {
    "brokers": {
        "kafka:9092/bootstrap": {"nodeid": -1, "rtt": {"cnt": 9, "p50": 1, "p99": 1}},
        "kafka:9092/1": {"nodeid": 1, "rtt": {"cnt": 20, "p50": 1500, "p99": 250_000}},
        "kafka:9093/2": {"nodeid": 2, "rtt": {"cnt": 0, "p50": 0, "p99": 0}},
    },
    "topics": {"input": {"partitions": {"0": {"fetchq_cnt": 3, "fetchq_size": 300}, "-1": {"fetchq_cnt": 0}}}},
}
PRODUCER = {"msg_cnt": 7, "msg_size": 70, "brokers": {}, "topics": {}}


def test_round_trips_are_those_of_brokers_that_were_talked_to() -> None:
    statistics = ClientStatistics()
    statistics.keeper("consumer")(orjson.dumps(CONSUMER).decode())
    assert list(statistics.round_trips()) == [
        RoundTrip("consumer", "1", "50", 0.0015),
        RoundTrip("consumer", "1", "99", 0.25),
    ]


def test_queues_are_what_waits_in_each_client() -> None:
    statistics = ClientStatistics()
    assert list(statistics.queues()) == []
    for client, document in (("producer", PRODUCER), ("consumer", PRODUCER), ("consumer", CONSUMER)):
        statistics.keeper(client)(orjson.dumps(document).decode())
    assert list(statistics.queues()) == [Queue("consumer", 3, 300), Queue("producer", 7, 70)]
