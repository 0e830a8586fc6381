"""exactly_once: what is seen and what is committed are one, whatever fails on the way."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import Any

import pytest

from tests.fakes.broker import FakeBroker, Stored, Transaction, kafka_error
from tests.fakes.transactional_producer import FakeTransactionalProducer
from tests.unit.runtime.member import (
    DLQ,
    HOP,
    INPUT,
    OUTPUT,
    FakeMember,
    committed,
    dead_letters,
    hops,
    new_broker,
    records,
    send,
    texts,
)
from worker.context.session_memory import place_of
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError, KafkaException, TopicPartition
from worker.runtime import bounded_call

LONG_S = 60_000.0


def new_member(broker: FakeBroker, **settings: Any) -> FakeMember:
    return FakeMember(broker, processing_guarantee="exactly_once", **settings)


def with_something_open() -> tuple[FakeBroker, FakeMember]:
    """A member that has produced for a payload and not committed it yet."""
    broker = new_broker()
    member = new_member(broker, commit_interval_s=3.0)
    member.turn()
    send(broker)
    member.turn()
    return broker, member


def seen_of_input(broker: FakeBroker) -> Counter[tuple[int, int]]:
    """How often each record of the input is on the repartition or the dead-letter topic."""
    seen = Counter(place_of(routed.source) for routed in hops(broker))
    seen.update((letter.source_partition, letter.source_offset) for letter, _, _ in dead_letters(broker))
    return seen


def every_input(broker: FakeBroker) -> Counter[tuple[int, int]]:
    return Counter((message.partition() or 0, message.offset() or 0) for message in broker.records(INPUT))


def kinds(broker: FakeBroker) -> list[str]:
    return [str(entry[0]) for entry in broker.journal]


# --- what a transaction holds ------------------------------------------------------------------------------------


def test_what_a_payload_yields_is_seen_together_with_its_position() -> None:
    broker = new_broker()
    member = new_member(broker, commit_interval_s=1.0)
    send(broker)
    broker.append(INPUT, b"key", b"no json")
    member.turn()
    assert broker.records(HOP) == []
    assert broker.records(DLQ) == []
    assert committed(broker) is None
    member.settle()
    assert texts(broker) == ["Pay"]
    assert len(dead_letters(broker)) == 1
    assert seen_of_input(broker) == every_input(broker)
    assert (committed(broker), committed(broker, HOP)) == (2, broker.end((HOP, 0)))


def test_nothing_is_begun_while_there_is_nothing_to_say() -> None:
    broker = new_broker()
    member = new_member(broker)
    send(broker)
    member.settle()
    broker.journal.clear()
    member.settle()
    assert "begun" not in kinds(broker)
    assert "committed" not in kinds(broker)


def test_records_that_yield_nothing_are_committed_too() -> None:
    broker = new_broker()
    member = new_member(broker)
    broker.append(INPUT, b"key", None)
    member.settle()
    assert committed(broker) == 1
    assert "produced" not in kinds(broker)


def test_what_only_the_clock_causes_carries_the_positions() -> None:
    """A transaction without them is not fenced."""
    broker = new_broker()
    member = new_member(broker)
    send(broker)
    member.settle()
    broker.journal.clear()
    broker.clock.sleep(400.0)
    member.turn(120)
    assert records(broker) == {"amelie": None}
    visible = broker.journal.index(("visible", OUTPUT, b"amelie"))
    assert ("committed", (HOP, 0), committed(broker, HOP)) in broker.journal[visible:]
    assert ("committed", (INPUT, 0), 1) in broker.journal[visible:]


def test_a_payload_after_a_quiet_time_does_not_wait_for_the_cadence() -> None:
    """Two commits, of the hop and of the output, come at once; more wait."""
    broker = new_broker()
    member = new_member(broker, commit_interval_s=3.0)
    member.turn(100)
    send(broker)
    began = broker.clock.monotonic()
    member.turn(2)
    assert texts(broker) == ["Pay"]
    assert broker.clock.monotonic() - began < 1.0
    send(broker, text="second")
    member.turn(2)
    assert len(broker.records(HOP)) == 1
    broker.clock.sleep(3.0)
    member.turn(2)
    assert len(broker.records(HOP)) == 2


def test_the_loop_does_not_sleep_over_a_commit() -> None:
    broker = new_broker()
    member = new_member(broker, commit_interval_s=0.05)
    member.turn()
    for number in range(5):
        send(broker, text=str(number))
        member.turn()
        waited = broker.clock.monotonic()
        member.turn()
        assert broker.clock.monotonic() - waited <= 0.06


# --- rebalances --------------------------------------------------------------------------------------------------


def test_revoked_partitions_are_committed_with_everything_the_transaction_speaks_for() -> None:
    broker = new_broker(partitions=2)
    member = new_member(broker, commit_interval_s=3.0)
    member.turn()
    send(broker, partition=0)
    send(broker, "ps_2", partition=1)
    member.turn()
    member.consumer.revoke((INPUT, 1))
    member.turn()
    assert seen_of_input(broker) == every_input(broker)
    assert [committed(broker, INPUT, partition) for partition in (0, 1)] == [1, 1]
    assert member.count("restores_after_failure") == 0


def test_a_lost_partition_takes_the_transaction_and_every_task_with_it() -> None:
    broker = new_broker(partitions=2)
    member = new_member(broker, commit_interval_s=3.0)
    member.turn()
    send(broker, partition=0)
    send(broker, "ps_2", partition=1)
    member.turn()
    before = dict(member.tasks)
    member.consumer.lose((INPUT, 1))
    member.turn()
    assert broker.records(HOP) == []
    assert "aborted" in kinds(broker)
    assert (INPUT, 1) not in member.tasks
    assert all(member.tasks[task_id] is not before[task_id] for task_id in member.tasks)
    member.settle()
    assert seen_of_input(broker) == {(0, 0): 1}
    member.consumer.assign((INPUT, 1))
    member.settle()
    assert seen_of_input(broker) == every_input(broker)


@pytest.mark.parametrize("code", [KafkaError.REBALANCE_IN_PROGRESS, KafkaError.ILLEGAL_GENERATION])
def test_a_group_between_two_generations_is_waited_for(code: int) -> None:
    broker = new_broker()
    member = new_member(broker)
    broker.refuse_commits.extend([code] * 3)
    send(broker)
    member.settle()
    assert texts(broker) == ["Pay"]
    assert member.count("commit_failures", KafkaError(code).name()) == 3
    assert member.count("restores_after_failure") == 0


def test_a_member_that_is_counted_out_shows_nothing_and_joins_anew() -> None:
    broker, member = with_something_open()
    broker.expelled.add(member.consumer)
    broker.clock.sleep(3.0)
    broker.journal.clear()
    member.turn()
    assert [kind for kind in kinds(broker) if kind != "flushed"] == ["aborted", "unsubscribed", "subscribed"]
    assert broker.records(HOP) == []
    member.settle()
    assert texts(broker) == ["Pay"]
    assert seen_of_input(broker) == every_input(broker)


def test_a_client_that_has_forgotten_who_it_is_commits_nothing() -> None:
    """The broker takes offsets of nobody, whoever owns the partitions (measured)."""
    broker, member = with_something_open()
    metadata = member.consumer.consumer_group_metadata

    def forgets() -> object:
        member.consumer.has_forgotten_itself = True
        return metadata()

    member.consumer.consumer_group_metadata = forgets  # type: ignore[method-assign]
    broker.clock.sleep(3.0)
    member.turn()
    assert broker.records(HOP) == []
    assert committed(broker) in (None, 0)


# --- failures ----------------------------------------------------------------------------------------------------


def test_a_commit_of_which_nobody_knows_is_asked_for_and_not_repeated() -> None:
    broker = new_broker()
    member = new_member(broker)
    member.turn(3)
    send(broker)
    broker.is_silent = True
    member.turn()
    broker.is_silent = False
    assert member.count("restores_after_failure") == 1
    assert len(broker.records(HOP)) == 1
    member.settle()
    assert seen_of_input(broker) == every_input(broker)
    assert texts(broker) == ["Pay"]


def forget_for_a_while(member: FakeMember, answers: int) -> None:
    """The group's coordinator says so often that nothing is committed."""
    ask, left = member.consumer.committed, [answers]

    def asked(partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        left[0] -= 1
        nothing = [TopicPartition(at.topic, at.partition) for at in partitions]
        return ask(partitions, timeout) if left[0] < 0 else nothing

    member.consumer.committed = asked  # type: ignore[method-assign]


def test_offsets_that_fall_are_asked_for_again_however_long_the_first_answer_took() -> None:
    broker = new_broker()
    member = new_member(broker)
    send(broker)
    member.settle()
    forget_for_a_while(member, answers=3)
    ask, silent = member.consumer.committed, [150]

    def not_at_once(partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        silent[0] -= 1
        if silent[0] >= 0:
            raise KafkaException(kafka_error(KafkaError.COORDINATOR_LOAD_IN_PROGRESS))
        return ask(partitions, timeout)

    member.consumer.committed = not_at_once  # type: ignore[method-assign]
    broker.refuse_transactions.append(KafkaError._TIMED_OUT)
    send(broker)
    member.settle()
    assert silent[0] < 0
    assert seen_of_input(broker) == every_input(broker)


@pytest.mark.parametrize("is_lost", [False, True])
def test_offsets_below_those_that_were_committed_are_not_believed(is_lost: bool) -> None:
    """A coordinator that has just come up may answer before it has read its log to the end (measured)."""
    broker = new_broker()
    member = new_member(broker)
    send(broker)
    member.settle()
    forget_for_a_while(member, answers=3)
    if is_lost:
        member.consumer.lose((INPUT, 0), (HOP, 0))
        member.consumer.assign((INPUT, 0), (HOP, 0))
    else:
        broker.refuse_transactions.append(KafkaError._TIMED_OUT)
    send(broker)
    member.settle()
    assert seen_of_input(broker) == every_input(broker)


def test_offsets_that_were_set_back_while_nobody_was_there_are_taken_in_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broker = new_broker()
    member = new_member(broker)
    send(broker)
    member.settle()
    member.consumer.lose((INPUT, 0), (HOP, 0))
    member.turn()
    broker.commits.clear()
    member.consumer.assign((INPUT, 0), (HOP, 0))
    member.settle()
    assert seen_of_input(broker) == {(0, 0): 2}
    assert "input[0] was committed up to 1, now the group says None" in caplog.text


def test_offsets_that_were_set_back_are_waited_for_once(caplog: pytest.LogCaptureFixture) -> None:
    broker = new_broker()
    member = new_member(broker, session_timeout_ms=45_000)  # the wait is no gap in the loop
    send(broker)
    member.settle()
    broker.commits.clear()
    broker.refuse_transactions.extend([KafkaError._TIMED_OUT, KafkaError._TIMED_OUT])
    send(broker)
    member.settle()
    assert member.count("restores_after_failure") == 2
    assert caplog.text.count("input[0] was committed up to 1") == 1


@pytest.mark.parametrize(
    "code", [KafkaError._TIMED_OUT, KafkaError.INVALID_TXN_STATE, KafkaError.COORDINATOR_NOT_AVAILABLE]
)
def test_a_commit_that_did_not_happen_is_done_anew(code: int) -> None:
    broker = new_broker()
    member = new_member(broker)
    member.turn(3)
    broker.refuse_transactions.append(code)
    send(broker)
    member.settle()
    assert member.count("restores_after_failure") == 1
    assert seen_of_input(broker) == every_input(broker)
    assert texts(broker) == ["Pay"]


def test_what_fails_before_the_first_commit_begins_again_where_the_task_began() -> None:
    """The offset was moved by another tool: what is committed says nothing of where to restore from."""
    broker = new_broker()
    send(broker, text="first")
    send(broker, user=None, text="second")
    broker.commits[INPUT, 0] = Stored(1, None)
    broker.refuse_transactions.append(KafkaError._TIMED_OUT)
    member = new_member(broker)
    member.settle()
    assert member.count("restores_after_failure") == 1
    assert texts(broker) == ["second"]


def test_a_commit_that_the_client_never_comes_back_from_is_done_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured with a broker that was killed: the call waited for minutes, whatever time it was given."""
    monkeypatch.setattr(bounded_call, "GRACE_S", 0.0)
    over, sends, aborts = threading.Event(), FakeTransactionalProducer.send_offsets_to_transaction, list[object]()

    def never_comes_back(*_: object) -> None:
        monkeypatch.setattr(FakeTransactionalProducer, "send_offsets_to_transaction", sends)
        monkeypatch.setattr(FakeTransactionalProducer, "abort_transaction", lambda *given: aborts.append(given))
        over.wait(30)

    broker = new_broker()
    member = new_member(broker, session_timeout_ms=1000, heartbeat_interval_ms=300)
    member.turn(3)
    monkeypatch.setattr(FakeTransactionalProducer, "send_offsets_to_transaction", never_comes_back)
    send(broker)
    member.settle()
    over.set()
    assert aborts == [], "it would wait behind the other call"
    assert member.count("restores_after_failure") == 1
    assert seen_of_input(broker) == every_input(broker)
    assert texts(broker) == ["Pay"]


def test_a_fatal_error_that_comes_up_among_delivery_reports_is_done_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: fenced by what the producer before had sent and nobody had waited for, told as a SystemError."""
    flush = FakeTransactionalProducer.flush

    def told_in_the_wrong_words(*_: object) -> int:
        monkeypatch.setattr(FakeTransactionalProducer, "flush", flush)
        fenced = KafkaException(KafkaError(KafkaError._FENCED, "fenced", True))
        raise SystemError("returned a result with an exception set") from fenced

    broker = new_broker()
    member = new_member(broker)
    member.turn(3)
    monkeypatch.setattr(FakeTransactionalProducer, "flush", told_in_the_wrong_words)
    send(broker)
    member.settle()
    assert member.count("restores_after_failure") == 1
    assert seen_of_input(broker) == every_input(broker)
    assert texts(broker) == ["Pay"]


def test_a_transaction_that_took_too_long_is_done_anew() -> None:
    broker = new_broker()
    member = new_member(broker, commit_interval_s=3.0, session_timeout_ms=60_000)
    member.turn()
    send(broker)
    member.turn()
    broker.clock.sleep(15.0)
    member.settle()
    assert member.count("restores_after_failure") == 1
    assert seen_of_input(broker) == every_input(broker)


def test_a_commit_that_is_never_allowed_ends_the_process() -> None:
    broker = new_broker()
    member = new_member(broker)
    broker.refuse_transactions.append(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    send(broker)
    with pytest.raises(Fatal) as caught:
        member.settle()
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_a_topic_that_may_not_be_written_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured: what was sent fails as purged, and only the transaction knows for what."""

    def purged(producer: FakeTransactionalProducer) -> None:
        if producer._queue:
            producer._error = kafka_error(KafkaError.TOPIC_AUTHORIZATION_FAILED, ends_transaction=True)
            producer.purge()

    broker = new_broker()
    member = new_member(broker)
    monkeypatch.setattr(FakeTransactionalProducer, "_deliver", purged)
    send(broker)
    with pytest.raises(Fatal) as caught:
        member.settle()
    assert caught.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_an_outage_is_sat_out() -> None:
    broker = new_broker()
    member = new_member(broker)
    send(broker)
    member.turn()
    broker.is_down = True
    member.turn(10)
    broker.is_down = False
    member.settle()
    send(broker, text="second")
    member.settle()
    assert texts(broker) == ["Pay", "second"]
    assert seen_of_input(broker) == every_input(broker)


def test_what_a_dead_member_left_open_is_waited_for_before_offsets_are_read() -> None:
    broker = new_broker()
    broker.transactions["dead"] = dead = Transaction(1, offsets={(INPUT, 0): Stored(1, None)})
    send(broker)
    member = new_member(broker)
    sleep, left = broker.clock.sleep, [15.0]

    def the_broker_takes_it_back(seconds: float) -> None:
        sleep(seconds)
        left[0] -= seconds
        if left[0] < 0:
            broker.end_transaction(dead, commit=False)

    broker.clock.sleep = the_broker_takes_it_back  # type: ignore[method-assign]
    member.settle()
    assert seen_of_input(broker) == every_input(broker)
    assert member.count("restores_after_failure") == 0, "the group need not know"


def test_what_the_same_member_left_open_before_it_died_is_ended_at_once() -> None:
    broker = new_broker()
    member = new_member(broker)
    broker.transactions[member.clients.transactional_id] = Transaction(1, offsets={(INPUT, 0): Stored(1, None)})
    send(broker)
    member.turn(5)
    assert seen_of_input(broker) == every_input(broker)


# --- records that are refused for themselves -----------------------------------------------------------------------


def test_a_refused_record_is_a_dead_letter_once_and_so_are_others_of_its_kind() -> None:
    """The broker refuses the whole batch, and the transaction is over: nobody can tell at once who it was."""
    broker = new_broker()
    member = new_member(broker)
    member.turn()
    broker.limits[HOP] = 20_000
    for number, size in enumerate((10, 60_000, 15_000, 90_000, 30_000)):
        send(broker, text=f"{number}" * size)
    member.settle()
    assert [(letter.reason, letter.source_offset) for letter, _, _ in dead_letters(broker)] == [
        ("too_large", 1),
        ("too_large", 3),
        ("too_large", 4),
    ]
    assert all(value is not None for _, _, value in dead_letters(broker)), "as they were received"
    assert seen_of_input(broker) == every_input(broker)
    assert committed(broker) == 5


def test_only_once_something_was_refused_does_each_record_travel_alone() -> None:
    broker = new_broker()
    member = new_member(broker)
    member.settle()

    def travels_alone() -> bool:
        assert isinstance(member.producer, FakeTransactionalProducer)
        return member.producer.one_by_one

    broker.refuse_transactions.append(KafkaError._TIMED_OUT)
    send(broker)
    member.settle()
    assert (len(member.clients.producers), travels_alone()) == (2, False)
    broker.limits[HOP] = 20_000
    send(broker, text="x" * 30_000)
    member.settle()
    assert (len(member.clients.producers), travels_alone()) == (4, True)
    send(broker)
    member.settle()
    assert (len(member.clients.producers), travels_alone()) == (4, True), "until the process ends"


def test_a_dead_letter_topic_that_became_too_small_gets_the_headers_only() -> None:
    broker = new_broker()
    member = new_member(broker)
    member.turn()
    broker.limits[DLQ] = 5_000
    broker.append(INPUT, b"key", b"{" + b"x" * 30_000)
    send(broker)
    member.settle()
    [(_, key, value)] = dead_letters(broker)
    assert (key, value) == (b"key", None)
    assert seen_of_input(broker) == every_input(broker)


# --- the end -------------------------------------------------------------------------------------------------------


def test_the_last_checkpoint_commits_what_is_open() -> None:
    broker, member = with_something_open()
    broker.refuse_commits.append(KafkaError.REBALANCE_IN_PROGRESS)
    member.loop.stop()
    member.loop.work()
    member.service.close()
    assert seen_of_input(broker) == every_input(broker)
    assert committed(broker) == 1


@pytest.mark.parametrize("event", ["revoke", "lose"])
def test_a_last_transaction_that_a_rebalance_took_back_is_no_clean_end(event: str) -> None:
    """What is left would commit the positions of payloads whose records went with it."""
    broker = new_broker(partitions=2)
    member = new_member(broker, commit_interval_s=3.0)
    member.turn()
    send(broker, partition=0)
    send(broker, "ps_2", partition=1)
    member.turn()
    broker.refuse_commits.extend([KafkaError.REBALANCE_IN_PROGRESS] * 2)
    getattr(member.consumer, event)((INPUT, 1))
    member.loop.stop()
    with pytest.raises(Fatal) as raised:
        member.loop.work()
    assert raised.value.exit_code is ExitCode.UNCLEAN_STOP
    member.service.close()
    assert broker.records(HOP) == []
    new_member(broker).settle()
    assert seen_of_input(broker) == every_input(broker)


def test_a_process_that_ends_for_a_fault_takes_back_what_is_open() -> None:
    broker = new_broker()
    member = new_member(broker, dlq_max_ratio=0.5)
    for _ in range(200):
        broker.append(INPUT, b"k", b"no json")
    with pytest.raises(Fatal):
        member.loop.work()
    member.service.close()
    assert broker.records(DLQ) == []
    assert "aborted" in kinds(broker)
    assert committed(broker) is None


# --- all of it -----------------------------------------------------------------------------------------------------


class Adversary:
    """Lets things happen at random to a member, and stops doing so."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.broker = new_broker(partitions=2)
        self.member = new_member(self.broker, publish_interval_ms=self.rng.choice((0, 500)))
        self.sent = 0

    def step(self) -> None:
        rng, broker, member = self.rng, self.broker, self.member
        for _ in range(rng.randrange(4)):
            user = rng.randrange(5)
            send(broker, f"ps_{user}", f"user {user}", text=str(self.sent), partition=user % 2)
            self.sent += 1
        if rng.random() < 0.1:
            broker.append(INPUT, b"bad", b"no json", partition=rng.randrange(2))
        if rng.random() < 0.3:
            rng.choice(
                (
                    lambda: broker.refuse_commits.append(KafkaError.ILLEGAL_GENERATION),
                    lambda: broker.refuse_commits.append(KafkaError.UNKNOWN_MEMBER_ID),
                    lambda: broker.refuse_transactions.append(KafkaError._TIMED_OUT),
                    lambda: broker.refuse_reads.append(KafkaError.COORDINATOR_LOAD_IN_PROGRESS),
                    lambda: setattr(broker, "is_silent", True),
                    lambda: setattr(broker, "is_down", True),
                    lambda: broker.expelled.add(member.consumer),
                    lambda: broker.clock.sleep(rng.choice((8.0, 12.0, 20.0))),
                    lambda: self._move("lose"),
                    lambda: self._move("revoke"),
                )
            )()
        member.turn(rng.randrange(1, 4))
        broker.is_silent = broker.is_down = False

    def _move(self, how: str) -> None:
        ids = sorted(self.member.consumer.held)
        if ids:
            chosen = self.rng.sample(ids, self.rng.randrange(1, len(ids) + 1))
            getattr(self.member.consumer, how)(*chosen)
            self.member.turn()
            gone = [task_id for task_id in chosen if task_id not in self.member.consumer.held]
            self.member.consumer.assign(*gone)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_fails_each_record_is_seen_once_and_every_user_is_right(seed: int) -> None:
    adversary = Adversary(seed)
    for _ in range(40):
        adversary.step()
    broker, member = adversary.broker, adversary.member
    broker.refuse_commits.clear()
    broker.refuse_transactions.clear()
    broker.refuse_reads.clear()
    member.turn(200)
    assert seen_of_input(broker) == every_input(broker)
    shown = {user: texts(broker, user) for user in records(broker)}
    assert sorted(text for listed in shown.values() for text in listed) == sorted(map(str, range(adversary.sent)))
    assert member.count("restores_after_failure") > 0
