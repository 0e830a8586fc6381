"""The way in on a real broker: from the SDK's own clients, over its stream, to the input topic."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import orjson
import pytest
from autoplay_sdk import AsyncConnectorClient, ConnectorClient

from tests.brokers import MavenKafka
from tests.integration.shell import PARTITIONS, Shell, create, records, wait_until
from tests.payloads import payload
from worker import ActionsPublisher, AsyncActionsPublisher
from worker.kafka import Admin, murmur2
from worker.publisher import Failure, NotDelivered
from worker.settings import Settings

COUNT = 200
EVENTS = [
    {
        "type": "actions",
        "product_id": "acme",
        "session_id": f"s{number % 20}",
        "user_id": f"u{number % 7}",
        "actions": [{"title": "t", "description": f"did {number}", "canonical_url": "https://x", "index": number}],
        "count": 1,
        "forwarded_at": 1_712_345_678.0 + number,
    }
    for number in range(COUNT)
]


class EventStream(BaseHTTPRequestHandler):
    """What the connector sends: all events, then silence."""

    over: ClassVar[threading.Event]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in EVENTS:
            self.wfile.write(b"event: actions\ndata: " + orjson.dumps(event) + b"\n\n")
        self.wfile.flush()
        self.over.wait(60)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stream() -> Iterator[str]:
    over = threading.Event()
    handler = type("Stream", (EventStream,), {"over": over})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield f"http://127.0.0.1:{server.server_port}/stream/acme"
        over.set()
        server.shutdown()
        serving.join()


def check_all_arrived(shell: Shell) -> None:
    """Every event once, in its session's order, where a Java producer would have put it."""
    found = records(shell.settings, shell.settings.input_topic)
    assert len(found) == COUNT
    order: dict[str, list[float]] = {}
    for partition, key, value in found:
        assert key is not None
        assert value is not None
        document = orjson.loads(value)
        assert document["session_id"].encode() == key
        assert partition == murmur2(key, PARTITIONS)
        order.setdefault(document["session_id"], []).append(document["forwarded_at"])
    assert all(times == sorted(times) for times in order.values())
    assert sum(map(len, order.values())) == len({time for times in order.values() for time in times})


def test_the_sdks_client_publishes(shell: Shell, admin: Admin, stream: str) -> None:
    create(admin, shell.settings.input_topic)
    client = ConnectorClient(url=stream)
    with ActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
        client.on_actions(publisher.add)
        running = client.run_in_background()
        wait_until(lambda: publisher.stats.added == COUNT, "all events came")
        client.stop()
    assert publisher.stats.failed == 0
    check_all_arrived(shell)
    assert running.daemon  # it waits for the next event


def test_the_sdks_async_client_publishes(shell: Shell, admin: Admin, stream: str) -> None:
    create(admin, shell.settings.input_topic)

    async def scenario() -> None:
        async with AsyncActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
            client = AsyncConnectorClient(url=stream)
            client.on_actions(publisher.add)
            running = asyncio.ensure_future(client.run())
            async with asyncio.timeout(30):
                while publisher.stats.added < COUNT:
                    await asyncio.sleep(0.01)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(scenario())
    check_all_arrived(shell)


def test_a_restart_of_the_broker_loses_and_repeats_nothing(
    private_kafka: MavenKafka, unique: Callable[[str], str]
) -> None:
    settings = Settings(bootstrap_servers=private_kafka.bootstrap_servers, input_topic=unique("actions"))
    create(Admin(settings), settings.input_topic)
    with ActionsPublisher(settings.bootstrap_servers, settings.input_topic) as publisher:
        for number in range(100):
            if number == 50:
                publisher.flush()
                private_kafka.stop()
            publisher.add(payload(f"did {number}", session=f"s{number % 5}", at=1_712_345_678.0 + number))
        assert publisher.stats.waiting == 50
        private_kafka.start()
        publisher.flush()
    values = [orjson.loads(value or b"") for _, _, value in records(settings, settings.input_topic)]
    assert len(values) == 100
    for session in range(5):
        times = [value["forwarded_at"] for value in values if value["session_id"] == f"s{session}"]
        assert len(times) == 20
        assert times == sorted(times)


def test_what_the_broker_does_not_take_is_told(shell: Shell, admin: Admin) -> None:
    create(admin, shell.settings.input_topic, max_message_bytes="2000")
    told: list[Failure] = []
    publisher = ActionsPublisher(
        shell.settings.bootstrap_servers, shell.settings.input_topic, on_failure=told.append, kafka={"linger.ms": "0"}
    )
    too_large = payload("".join(map(chr, range(0x4E00, 0x4E00 + 2000))))
    publisher.add(too_large)
    with pytest.raises(NotDelivered, match="1 payloads were not delivered"):
        publisher.flush()
    publisher.add(payload("small"))
    publisher.close()
    assert [(failure.subject, failure.refused) for failure in told] == [(too_large, True)]
    assert len(records(shell.settings, shell.settings.input_topic)) == 1
