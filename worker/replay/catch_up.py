"""Beside the member that works: until the group has caught up, then until no user of before is left behind.

It only asks, so other members may join, and leave, as they like: what counts is what the group has committed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from worker.errors import Retriable
from worker.group import Group
from worker.pipeline.repartition import PUBLISH_AGAIN
from worker.replay.plan import Plan
from worker.replay.rewind import write_resets
from worker.replay.standing import Standing
from worker.runtime.task import TaskId
from worker.settings import Settings
from worker.topic_reader import TopicReader

T = TypeVar("T")

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5
EXPIRY_PATIENCE_S = 2.0  # a partition is idle by then, and its users are published


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one of the waits is, in records."""

    doing: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the replay came to. `published`: users with a record that says something; `cleared`: that had one before.

    `seconds`: until everything was caught up.
    """

    published: int
    cleared: int
    seconds: float


class Interrupted(Exception):
    """Nobody waits for the end any more."""


class CatchUp(threading.Thread):
    """Follows the group; calls `finish` when there is an `outcome`, or a `failure`. `stop` ends it without either."""

    def __init__(
        self,
        group: Group,
        settings: Settings,
        plan: Plan,
        show: Callable[[Progress], None],
        finish: Callable[[], None],
    ) -> None:
        super().__init__(name="catch-up", daemon=True)
        self.outcome: Outcome | None = None
        self.failure: BaseException | None = None
        self._group = group
        self._settings = settings
        self._plan = plan
        self._show = show
        self._finish = finish
        self._stopped = threading.Event()

    def stop(self, timeout_s: float) -> None:
        """Nobody works any more: give up, and wait for that so long."""
        self._stopped.set()
        self.join(timeout_s)

    def run(self) -> None:
        """The thread."""
        try:
            self.outcome = self._follow()
        except Interrupted:
            return
        except BaseException as exc:  # noqa: BLE001 - it is raised where the member ends
            self.failure = exc
        self._finish()

    def _follow(self) -> Outcome:
        settings, plan, began = self._settings, self._plan, time.monotonic()
        inputs = {(settings.input_topic, each.partition): (each.start, each.end) for each in plan.inputs}
        self._wait(f"replaying {settings.input_topic}", inputs)
        self._wait("publishing the users", self._users_to_do())
        seconds = time.monotonic() - began
        standing = self._read_output()
        if standing.untouched:
            log.info("%d users of before were not published again", len(standing.untouched))
            write_resets(settings, ((user_id, PUBLISH_AGAIN) for user_id in _user_ids(standing.untouched)))
            self._wait("clearing users of before", self._users_to_do())
        return Outcome(len(standing.published), len(standing.untouched), seconds)

    def _users_to_do(self) -> dict[TaskId, tuple[int, int]]:
        """From where to where the repartition topic is to be worked off by now."""
        topic = self._settings.repartition_topic
        ids = [(topic, partition) for partition in self._plan.empty_from]
        logs = self._patiently(lambda: self._group.bounds(ids))
        return {task_id: (self._plan.empty_from[task_id[1]], log.end) for task_id, log in logs.items()}

    def _wait(self, doing: str, spans: dict[TaskId, tuple[int, int]]) -> None:
        """Until the group has committed the end of each span."""
        total = sum(end - start for start, end in spans.values())
        while True:
            committed = self._patiently(lambda: self._group.committed(spans))
            done = 0
            for task_id, (start, end) in spans.items():
                done += min(max(committed[task_id].next_offset or 0, start), end) - start
            self._show(Progress(doing, done, total))
            if done >= total:
                return
            self._pause()

    def _read_output(self) -> Standing:
        """What is on the output topic since the survey. Where users expire by the wall clock, what was over before the
        replay gets the time to be so again."""
        standing = Standing(self._plan.standing)
        patience_s = self._settings.idle_after_s + EXPIRY_PATIENCE_S if self._settings.expire_idle_users else 0.0
        with TopicReader(self._settings, self._settings.output_topic) as reader:
            for message in reader.to_end(self._plan.output_ends):
                standing.add(message.key(), message.value())
                self._give_up_if_stopped()
            deadline = time.monotonic() + patience_s
            while standing.has_expired(time.time()) and time.monotonic() < deadline:
                self._show(Progress("letting users expire", 0, 0))
                for message in reader.follow(time.monotonic() + LOOK_EVERY_S):
                    standing.add(message.key(), message.value())
                self._give_up_if_stopped()
        return standing

    def _patiently(self, question: Callable[[], T]) -> T:
        """The answer, however long the broker takes: the member beside says when that is too long."""
        while True:
            try:
                return question()
            except Retriable as exc:
                log.debug("asking again: %s", exc)
                self._pause()

    def _pause(self) -> None:
        self._stopped.wait(LOOK_EVERY_S)
        self._give_up_if_stopped()

    def _give_up_if_stopped(self) -> None:
        if self._stopped.is_set():
            raise Interrupted


def _user_ids(keys: Iterable[bytes]) -> Iterable[str]:
    """Keys that are no user ids are not of this project: they are left alone."""
    for key in keys:
        try:
            yield key.decode()
        except UnicodeDecodeError:
            log.warning("the output topic holds a key of %d bytes that is no user id", len(key))
