"""Records that the broker refused for themselves, or for a neighbour in their batch: who was it?

Each is sent again alone. What is refused alone is a dead letter, never a reason to restore: the partition goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from worker.kafka import Message
from worker.pipeline.record import SourceRecord
from worker.runtime.clock import Clock
from worker.runtime.dead_letters import TOO_LARGE, DeadLetters
from worker.runtime.outbox import Outbox, Outgoing
from worker.runtime.task import Task, UserTask, source_record


class Refusals:
    """Settles refused records. `tasks` gives the tasks owned now."""

    def __init__(
        self,
        outbox: Outbox,
        dead_letters: DeadLetters,
        clock: Clock,
        output_topic: str,
        flush_timeout_s: float,
        tasks: Callable[[], Iterable[Task]],
    ) -> None:
        self._outbox = outbox
        self._dead_letters = dead_letters
        self._clock = clock
        self._output_topic = output_topic
        self._flush_timeout_s = flush_timeout_s
        self._tasks = tasks

    def settle(self) -> None:
        """Returns when every refused record is delivered or is a delivered dead letter. Everything else was flushed.

        Raises:
            TaskCorrupted, Fatal: a delivery failed otherwise.
        """
        for outgoing in self._outbox.take_refused():
            if outgoing.topic == self._output_topic:
                self._publish_again(outgoing)
            else:
                self._outbox.send(outgoing)
            self._outbox.flush(self._flush_timeout_s)
            for culprit in self._outbox.take_refused():
                self._dead_letters.write(self._source_of(culprit), TOO_LARGE)
                self._outbox.flush(self._flush_timeout_s)

    def _publish_again(self, outgoing: Outgoing) -> None:
        """Render anew: what was refused may be older than what was published since."""
        user_id = (outgoing.key or b"").decode()
        for task in self._tasks():
            if isinstance(task, UserTask) and task.stage.change_again(user_id):
                task.publish(self._clock.wall())

    @staticmethod
    def _source_of(outgoing: Outgoing) -> SourceRecord:
        """The input record it was made of; where that is not known, the refused record itself."""
        if isinstance(outgoing.source, Message):
            return source_record(outgoing.source)
        return SourceRecord(-1, -1, None, outgoing.key, outgoing.value, outgoing.headers)
