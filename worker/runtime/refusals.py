"""Records that the broker refused for themselves, or for a neighbour in their batch: who was it?

Each is sent again alone, and of a record with many payloads then each of those. What is refused alone is a dead letter,
never a reason to restore: the partition goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from worker.pipeline import repartition
from worker.runtime.clock import Clock
from worker.runtime.dead_letters import TOO_LARGE, DeadLetters
from worker.runtime.outbox import Outbox, Outgoing
from worker.runtime.router import origin_of, payloads_in
from worker.runtime.task import Channels, Task, without_origin


class Refusals:
    """Settles refused records. `tasks` gives the tasks owned now."""

    def __init__(
        self, channels: Channels, clock: Clock, flush_timeout_s: float, tasks: Callable[[], Iterable[Task]]
    ) -> None:
        self._channels = channels
        self._clock = clock
        self._flush_timeout_s = flush_timeout_s
        self._tasks = tasks

    @property
    def _outbox(self) -> Outbox:
        return self._channels.outbox

    @property
    def _dead_letters(self) -> DeadLetters:
        return self._channels.dead_letters

    def settle(self) -> None:
        """Returns when every refused record is delivered or is a delivered dead letter. Everything else was flushed.

        Raises:
            TaskMigrated, TaskCorrupted, Fatal: something could not be delivered for another reason.
        """
        refused = self._outbox.take_refused()
        while refused:
            outgoing = refused.pop()
            self._send_alone(outgoing)
            again = self._outbox.take_refused()
            if len(again) == 1 and _same(again[0], outgoing):
                again = self._taken_apart(outgoing)
                if not again:
                    self._bury(outgoing)
                    again = self._outbox.take_refused()
            refused += again

    def _send_alone(self, outgoing: Outgoing) -> None:
        if not self._publish_again(outgoing):
            self._outbox.send(self._by_now(outgoing))
        self._outbox.flush(self._flush_timeout_s)

    def _publish_again(self, outgoing: Outgoing) -> bool:
        """Render anew: what was refused may be older than what was published since. False = it is of no output topic,
        or nobody knows any more whose it was."""
        return any(task.publish_again(outgoing, self._clock.wall()) for task in self._tasks())

    def _by_now(self, outgoing: Outgoing) -> Outgoing:
        """Of whom nobody knows any more a null record was published since."""
        is_of_output = outgoing.topic in (self._channels.output_topic, self._channels.session_output_topic)
        return outgoing._replace(value=None) if is_of_output else outgoing

    def _taken_apart(self, outgoing: Outgoing) -> list[Outgoing]:
        """Payloads that travelled together, each in a record of its own."""
        if outgoing.topic != self._channels.repartition_topic or outgoing.value is None:
            return []
        bundle = payloads_in(outgoing.value)
        if len(bundle) == 1:
            return []
        return [outgoing._replace(value=repartition.write([routed])) for routed in bundle]

    def _bury(self, culprit: Outgoing) -> None:
        """It was alone, so it is refused for itself. A dead letter that is refused is written with less in it."""
        if culprit.topic == self._channels.dead_letter_topic:
            self._dead_letters.write_smaller(culprit)
        else:
            of_input = culprit.topic == self._channels.repartition_topic and culprit.value is not None
            source = origin_of(culprit.value, culprit.source) if of_input else without_origin(culprit)
            self._dead_letters.write(source, TOO_LARGE)
        self._outbox.flush(self._flush_timeout_s)


def _same(one: Outgoing, other: Outgoing) -> bool:
    return (one.topic, one.key) == (other.topic, other.key)
