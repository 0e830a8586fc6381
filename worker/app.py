"""The composition root of `run`: the only place that makes clients, tasks and the loop."""

from __future__ import annotations

import gc
import logging
import os
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version

from worker.client_statistics import ClientStatistics
from worker.errors import ExitCode, Fatal
from worker.kafka import Admin
from worker.kafka_clients import KafkaClients
from worker.loop_watch import LoopWatch
from worker.metrics import Metrics
from worker.pipeline.repartition import FORM
from worker.policies import link_policy, user_policy, visitor_policy
from worker.runtime.assignment import Assignment
from worker.runtime.checkpoint import Checkpoint
from worker.runtime.clients import Clients
from worker.runtime.clock import Clock, SystemClock
from worker.runtime.commit_policy import CommitPolicy
from worker.runtime.dead_letter_limit import DeadLetterLimit, DeadLetterRatio
from worker.runtime.dead_letters import DeadLetters
from worker.runtime.loop_policy import LoopPolicy
from worker.runtime.offsets import PATIENCE_S, PATIENCE_WITH_TRANSACTIONS_S, Offsets
from worker.runtime.outbox import MAX_RECORD_OVERHEAD_BYTES, Outbox
from worker.runtime.ownership import Ownership
from worker.runtime.poll_loop import PollLoop
from worker.runtime.refusals import Refusals
from worker.runtime.restore import Start
from worker.runtime.router import Router
from worker.runtime.task import Channels, SessionPolicy, SessionTask, Task, TaskId, UserTask
from worker.runtime.transactional_checkpoint import TransactionalCheckpoint
from worker.runtime.transactional_outbox import TransactionalOutbox
from worker.settings import Settings
from worker.stop_signals import StopSignals
from worker.topic_policy import Role, Topic
from worker.topics import TopicReport, ensure_topics

log = logging.getLogger(__name__)

COLLECT_AFTER = (50_000, 10, 10)  # new containers until the youngest are looked at, and so on, as `gc` counts
LAST_CHECKPOINT_S = 6.0
LEAVE_TIMEOUT_S = 7.0  # leaving the group, which waits for a rebalance that is going on
GIVE_UP_TIMEOUT_S = 3.0  # the same after a failure: a client that hangs longer is left behind
STOP_DEADLINE_S = 10.0  # from the signal to the end of the process, whatever the broker does


def run_service(settings: Settings) -> ExitCode:
    """Run one member of the group until SIGTERM or SIGINT. To be called from the main thread.

    Raises:
        Fatal: the process has to end with the error's exit code.
    """
    clock = SystemClock()
    admin = Admin(settings)
    report = ensure_topics(admin, settings)
    for warning in report.warnings:
        log.warning("%s", warning)
    statistics = ClientStatistics() if settings.http_address else None
    service = Service(settings, report, KafkaClients(settings, admin, report, statistics), clock)
    with ExitStack() as stack:
        collect_seldom()
        if statistics is not None:
            from worker.observed import observe  # noqa: PLC0415 - whoever does not listen needs none of it

            stack.enter_context(observe(service, settings, statistics))
        log.info(
            "started: group %s reads %s and %s", settings.group_id, settings.input_topic, settings.repartition_topic
        )
        run_member(service)
    return ExitCode.OK


def collect_seldom() -> None:
    """What is remembered has no cycles, so looking for them finds nothing, and costs more the more is remembered: a
    fifth of the CPU of a restore, when done as often as Python does it by itself (measured)."""
    gc.collect()
    gc.freeze()  # what was loaded stays
    gc.set_threshold(*COLLECT_AFTER)


def run_member(service: Service) -> None:
    """Work until SIGTERM or SIGINT, or until somebody else stops the loop. Ends the process where the client hangs.

    Raises:
        Fatal: the process has to end with the error's exit code.
    """
    failure: Fatal | None = None
    with StopSignals(service.loop.stop, STOP_DEADLINE_S):
        try:
            with LoopWatch(lambda: service.loop.last_turn, service.stuck_after_s):
                service.loop.run()
        except Fatal as exc:
            failure = exc
        finally:
            closed = service.close(LEAVE_TIMEOUT_S if failure is None else GIVE_UP_TIMEOUT_S)
    log.info("stopped; counted since the start: %s", service.metrics.snapshot())
    if not closed:
        log.error("the Kafka client did not close in time and is left behind %s", failure or "")
        logging.shutdown()
        os._exit(failure.exit_code if failure else ExitCode.UNCLEAN_STOP)
    if failure is not None:
        raise failure


class Service:
    """All parts of one member, wired.

    `longest_turn_s`: what the loop may take for one turn while a broker is away; beyond it something is wrong, and
    `stuck_after_s` ends it.
    """

    def __init__(self, settings: Settings, report: TopicReport, clients: Clients, clock: Clock) -> None:
        self.metrics = Metrics()
        self.clock = clock
        self._settings = settings
        policy = _loop_policy(settings)
        limits = {topic.name: topic.max_message_bytes for topic in report.topics.values()}
        self._outbox = self._make_outbox(clients, lambda: ownership.check(), limits)  # noqa: PLW0108 - it is made below
        self._channels = self._make_channels(report.topics[Role.REPARTITION])
        router = self._channels.router
        room = {name: limit - MAX_RECORD_OVERHEAD_BYTES for name, limit in limits.items()}
        visitors = visitor_policy(settings, room.get(settings.session_output_topic))
        self._session_policy = SessionPolicy(link_policy(settings), settings.max_clock_skew_s, visitors)
        self._user_policy = user_policy(settings, room[settings.output_topic])
        refusals = Refusals(self._channels, clock, policy.flush_timeout_s, lambda: list(assignment.tasks.values()))
        checkpoint = self._make_checkpoint(refusals)
        self._consumer = clients.consumer(checkpoint.on_commit)
        patience_s = PATIENCE_WITH_TRANSACTIONS_S if settings.is_exactly_once else PATIENCE_S
        offsets = Offsets(clients.admin, clients.reader, clock, patience_s)
        assignment = Assignment(
            self._make_task,
            offsets,
            checkpoint,
            self._outbox,
            clock,
            self.metrics,
            before_assign=lambda: router.spread_over(offsets.partitions(settings.repartition_topic)),
            restore_s=_restore_by_time_s(settings),
            close_timeout_s=policy.flush_timeout_s,
            asks_broker=settings.is_exactly_once,
        )
        ownership = Ownership(self._consumer, assignment, checkpoint, clock, policy.session_timeout_s)
        self.loop = PollLoop(
            policy, self._consumer, assignment, ownership, checkpoint, self._outbox, router, clock, self.metrics
        )
        self.assignment = assignment
        asking_s = PATIENCE_WITH_TRANSACTIONS_S + PATIENCE_S  # for what is committed, and again where that is less
        self.longest_turn_s = policy.session_timeout_s + policy.flush_timeout_s + asking_s
        self.stuck_after_s = self.longest_turn_s + settings.stall_timeout_s

    def _make_outbox(self, clients: Clients, may_produce: Callable[[], None], limits: dict[str, int]) -> Outbox:
        patience_s = _loop_policy(self._settings).flush_timeout_s
        if self._settings.is_exactly_once:
            return TransactionalOutbox(clients.transactional_producer, may_produce, limits, self.clock, patience_s)
        return Outbox(clients.producer, may_produce, limits, self.clock, patience_s)

    def _make_checkpoint(self, refusals: Refusals) -> Checkpoint:
        if isinstance(self._outbox, TransactionalOutbox):
            return TransactionalCheckpoint(self._outbox, self.clock, self.metrics)
        return Checkpoint(self._outbox, refusals.settle, self.clock, self.metrics)

    def _make_channels(self, repartition: Topic) -> Channels:
        settings = self._settings
        ratio = DeadLetterRatio(DeadLetterLimit(settings.dlq_max_ratio))
        dead_letters = DeadLetters(
            self._outbox, settings.dlq_topic, settings.input_topic, self.metrics, software_version(), ratio
        )
        return Channels(
            self._outbox,
            Router(self._outbox, dead_letters, self.metrics, repartition, int(settings.upgrade_from or FORM)),
            dead_letters,
            self.metrics,
            settings.repartition_topic,
            settings.output_topic,
            settings.dlq_topic,
            settings.session_output_topic,
        )

    def _make_task(self, task_id: TaskId, start: Start) -> Task:
        if start.warning:
            self.metrics.add("clamped_starts")
        if task_id[0] == self._settings.input_topic:
            return SessionTask(task_id, start, self._session_policy, self._channels, self.clock.wall())
        return UserTask(task_id, start, self._user_policy, self._channels, self.clock.wall())

    def close(self, timeout_s: float = GIVE_UP_TIMEOUT_S) -> bool:
        """Leave the group; False when the client hangs: without a broker that may be for ever, so it gets a thread."""
        closing = threading.Thread(target=self._consumer.close, name="close", daemon=True)
        closing.start()
        closing.join(timeout_s)
        self._outbox.abandon()
        return not closing.is_alive()


def _restore_by_time_s(settings: Settings) -> dict[str, float | None]:
    """How far before a committed offset without a restore point of ours a restore begins; None = at the log's start."""
    return {
        settings.input_topic: settings.retention_s + settings.link_retention_s,
        settings.repartition_topic: None,
    }


def _loop_policy(settings: Settings) -> LoopPolicy:
    return LoopPolicy(
        topics=(settings.input_topic, settings.repartition_topic),
        publish_interval_s=settings.publish_interval_ms / 1000,
        commit=CommitPolicy(settings.effective_commit_interval_s, follows_up=settings.is_exactly_once),
        flush_timeout_s=settings.delivery_timeout_ms / 1000 + 1,  # by then every record has its fate
        session_timeout_s=settings.effective_session_timeout_ms / 1000,
        stop_timeout_s=LAST_CHECKPOINT_S,
        stall_timeout_s=settings.stall_timeout_s,
    )


def software_version() -> str:
    """What goes into a dead letter's headers."""
    try:
        return version("user-context-worker")
    except PackageNotFoundError:
        return "unknown"
