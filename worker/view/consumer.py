"""The view's consumer on a real Kafka."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

from worker.kafka import (
    Admin,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    reader_config,
    translate,
)
from worker.settings import Settings
from worker.view.follower import ConsumerLike, MakeConsumer

STATISTICS_MS = 1000
ASK_S = 1.0


class ViewConsumer(Consumer):
    """A reader that also knows which topic of a name it is: the consumer itself does not tell."""

    def __init__(self, settings: Settings, watching: dict[str, Any]) -> None:
        super().__init__({**reader_config(settings), **watching})
        self._admin = Admin(settings)

    def topic_id(self, topic: str) -> str | None:
        try:
            futures: dict[str, Future[Any]] = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=ASK_S
            )
            return str(futures[topic].result().topic_id)
        except KafkaException:  # not now, or not by this broker
            return None


def consumers(settings: Settings) -> MakeConsumer:
    """Makes a consumer as the follower asks for one."""

    def make(on_statistics: Callable[[str], None], on_error: Callable[[KafkaError], None]) -> ConsumerLike:
        watching = {"statistics.interval.ms": STATISTICS_MS, "stats_cb": on_statistics, "error_cb": on_error}
        try:
            return cast(ConsumerLike, ViewConsumer(settings, watching))
        except KafkaException as exc:
            raise translate(exc, "setting up the view's reader") from exc

    return make
