"""The same job with the autoplay SDK: `sdk_loop.py BOOTSTRAP INPUT OUTPUT GROUP`, until SIGTERM.

What a user of the SDK would write: one consumer of both topics, payloads keyed anew by user over a repartition topic,
`ContextStore` and `UserSessionIndex` behind it, a record for every payload. The SDK forgets by the wall clock; here its
clock is the user's newest event. At least once, but without a restore: the SDK has no place for its state.
"""

from __future__ import annotations

import signal
import sys
import time
import types

import autoplay_sdk.context.context_store as sdk_store
import autoplay_sdk.context.user_index as sdk_index
import orjson
from autoplay_sdk import ActionsPayload, ContextStore, UserSessionIndex
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined] # re-exported without saying so

LOOKBACK_S = 300.0
MAX_SESSIONS = 20
BATCH = 2000
COMMIT_INTERVAL_S = 1.0
PARTITIONS = 4


class SdkLoop:
    """Works until told to stop."""

    def __init__(self, bootstrap_servers: str, input_topic: str, output_topic: str, group: str) -> None:
        self._input, self._output = input_topic, output_topic
        self._between = f"{group}-by-user-repartition"
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        admin.create_topics([NewTopic(self._between, PARTITIONS, 1)])[self._between].result()
        self._failed: list[KafkaError] = []
        self._stopping = False
        self._now = 0.0
        clock = types.SimpleNamespace(time=lambda: self._now)
        for module in (sdk_store, sdk_index):
            vars(module)["time"] = clock
        self._store = ContextStore(lookback_seconds=LOOKBACK_S)
        self._index = UserSessionIndex(self._store, lookback_seconds=LOOKBACK_S, max_sessions_per_user=MAX_SESSIONS)
        self._newest: dict[str, float] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.queue.backoff.ms": 5,
            }
        )
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap_servers,
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "queue.buffering.max.messages": 500_000,
                "delivery.report.only.error": True,
                "on_delivery": self._delivered,
            }
        )

    def stop(self) -> None:
        """Finish the batch and leave."""
        self._stopping = True

    def run(self) -> None:
        """Work until stopped."""
        self._consumer.subscribe([self._input, self._between])
        committed = time.monotonic()
        while not self._stopping:
            first = self._consumer.poll(0.1)
            if first is not None:
                for message in [first, *self._consumer.consume(BATCH - 1, 0)]:
                    self._process(message)
            self._producer.poll(0)
            if time.monotonic() - committed > COMMIT_INTERVAL_S:
                self._commit()
                committed = time.monotonic()
        self._commit()
        self._consumer.close()

    def _process(self, message: Message) -> None:
        error, value = message.error(), message.value()
        if error is not None:
            raise KafkaException(error)
        document = orjson.loads(value or b"")
        if message.topic() == self._input:
            self._send(self._between, value, document["user_id"])
            return
        payload = ActionsPayload.from_dict(document)
        user_id = str(payload.user_id)
        self._now = self._newest[user_id] = max(self._newest.get(user_id, 0.0), payload.forwarded_at)
        self._store.add(payload)
        self._index.add(payload)
        self._publish(user_id)

    def _publish(self, user_id: str) -> None:
        sessions = []
        for session in self._index.get_recent_sessions(user_id):
            text = self._store.get(session.session_id, product_id=session.product_id)
            sessions.append(
                {
                    "session_id": session.session_id,
                    "product_id": session.product_id,
                    "last_seen_at": session.last_seen_at,
                    "action_count": text.count("\n"),
                    "context": text,
                }
            )
        record = {"user_id": user_id, "email": self._index.get_email(user_id), "sessions": sessions}
        self._send(self._output, orjson.dumps(record), user_id)

    def _send(self, topic: str, value: bytes | None, key: str) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key)
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def _commit(self) -> None:
        self._producer.flush()
        if self._failed:
            raise KafkaException(self._failed[0])
        try:
            self._consumer.commit(asynchronous=False)
        except KafkaException as exc:
            if exc.args[0].code() != KafkaError._NO_OFFSET:  # noqa: SLF001 - nothing new was read
                raise

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)


def main() -> None:
    """Run until SIGTERM."""
    loop = SdkLoop(*sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: loop.stop())
    loop.run()


if __name__ == "__main__":
    main()
