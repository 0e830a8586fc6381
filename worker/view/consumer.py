"""The view's consumer on a real Kafka."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, cast

from worker.kafka import (
    AdminClient,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    admin_config,
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
        config = admin_config(settings)
        config["error_cb"] = _heard_already
        self._admin = AdminClient(config)

    def poll(self, timeout: float = -1) -> Message | None:
        self._admin.poll(0)  # what nobody polls piles up: a line or an error for each attempt to connect
        return super().poll(timeout)

    def topic_id(self, topic: str) -> str | None:
        """Which topic of this name it is; None when that is not to be known now, or not by this broker."""
        try:
            futures: dict[str, Future[Any]] = self._admin.describe_topics(
                TopicCollection([topic]), request_timeout=ASK_S
            )
            return str(futures[topic].result().topic_id)
        except KafkaException:
            return None


def _heard_already(_error: KafkaError) -> None:
    """The consumer's connections fail with the same errors."""


def consumers(settings: Settings) -> MakeConsumer:
    """Makes a consumer as the follower asks for one."""

    def make(on_statistics: Callable[[str], None], on_error: Callable[[KafkaError], None]) -> ConsumerLike:
        watching = {"statistics.interval.ms": STATISTICS_MS, "stats_cb": on_statistics, "error_cb": on_error}
        try:
            return cast(ConsumerLike, ViewConsumer(settings, watching))
        except KafkaException as exc:
            raise translate(exc, "setting up the view's reader") from exc

    return make
