"""The driver that runs the pipeline without a broker."""

from __future__ import annotations

import doctest

import orjson
import pytest

import worker.kafka
from schemas import ActionsPayload, SlimAction, UserContext
from schemas.dead_letter import DeadLetter
from worker import testing
from worker.partitioner import murmur2, partition_of
from worker.pipeline.by_session import BySession
from worker.pipeline.by_user import ByUser
from worker.runtime.clock import Clock
from worker.settings import Settings
from worker.testing import NOON, ManualClock, TaskId, Topic, TopologyDriver

INPUT = TaskId(Topic.INPUT, 0)
ALICE = {"session_id": "ps_1", "user_id": "alice", "actions": [{"description": "pay"}]}


def shown(context: UserContext | None) -> list[str]:
    """What a record tells, without numbers."""
    assert context is not None
    lines = [line for session in context.sessions for line in session.context.split("\n")[1:]]
    return [line.split(": ")[1].split(" — ")[0] for line in lines]


def doing(description: str, session: str = "ps_1", user: str = "") -> dict[str, object]:
    return {"session_id": session, "user_id": user, "actions": [{"description": description}]}


def one_partition(settings: Settings | None = None) -> TopologyDriver:
    return TopologyDriver(settings, partitions=1)


USER = TaskId(Topic.REPARTITION, 0)


def test_the_example_in_the_docstring_is_true() -> None:
    failed, tried = doctest.testmod(testing)
    assert tried > 0
    assert failed == 0


def test_the_clock_stands_until_it_is_moved() -> None:
    clock = ManualClock(100.0)
    as_the_runtime_sees_it: Clock = clock
    as_the_runtime_sees_it.sleep(2.5)
    clock.advance(1)
    assert clock.wall() == clock.monotonic() == 103.5


# --- keys and partitions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value"),
    [  # from Kafka's own tests (UtilsTest.testMurmur2)
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_a_key_has_the_hash_that_kafka_gives_it(key: bytes, value: int) -> None:
    assert murmur2(key) == value & 0xFFFFFFFF


@pytest.mark.parametrize("key", [b"", b"a", b"\xff\xfe", "zoë".encode(), b"x" * 1000])
def test_the_client_agrees(key: bytes) -> None:
    assert partition_of(key, 7) == worker.kafka.murmur2(key, 7)


def test_a_record_goes_where_its_key_says_or_where_it_is_told() -> None:
    driver = TopologyDriver(partitions=4)
    assert driver.pipe(b"{}", key=b"foobar").partition == partition_of(b"foobar", 4)
    assert driver.pipe(b"{}", key=b"foobar", partition=3).partition == 3
    assert driver.pipe(b"{}").partition == 0
    assert driver.pipe(doing("x", session="foobar")).key == b"foobar"
    assert driver.pipe(doing("x", session="foobar"), key=b"other").key == b"other"


def test_a_record_has_the_time_of_the_clock_or_its_own_or_none() -> None:
    driver = one_partition()
    assert driver.pipe(b"{}").timestamp == NOON
    assert driver.pipe(b"{}", timestamp=5.0).timestamp == 5.0
    assert driver.pipe(b"{}", timestamp=-1).timestamp is None
    driver.pipe(ALICE, timestamp=-1)
    driver.process()
    context = driver.context("alice")
    assert context is not None
    assert context.updated_at == NOON


def test_payloads_can_be_piped_as_values() -> None:
    driver = one_partition()
    action = SlimAction(title="", description="pay", canonical_url="/")
    driver.pipe(ActionsPayload("acme", "ps_1", "alice", None, [action], 1, NOON))
    driver.pipe(ActionsPayload("acme", None, "alice", None, [action], 1, NOON))
    driver.process()
    assert shown(driver.context("alice")) == ["pay"]
    assert driver.tasks[INPUT].counts["no_session_id"] == 1


# --- processing -------------------------------------------------------------------------------------------------------


def test_everything_is_processed_across_partitions() -> None:
    driver = TopologyDriver(partitions=4)
    for number in range(20):
        driver.pipe(doing(f"a{number}", session=f"s{number}", user="alice"))
        driver.pipe(doing(f"b{number}", session=f"s{number}", user="bob"))
    driver.process(records=3)
    assert sorted(shown(driver.context("alice"))) == sorted(f"a{number}" for number in range(20))
    assert sorted(shown(driver.context("bob"))) == sorted(f"b{number}" for number in range(20))
    assert {task.lag for task in driver.tasks.values()} == {0}


def test_a_test_chooses_which_partition_goes_on() -> None:
    driver = TopologyDriver(partitions=2)
    for partition in range(2):
        driver.pipe(doing(str(partition), session=f"s{partition}", user="alice"), partition=partition)
    assert driver.step(TaskId(Topic.INPUT, 1)) == 1
    assert driver.step(TaskId(Topic.INPUT, 1)) == 0
    driver.step(driver.home("alice"))
    assert shown(driver.context("alice")) == ["1"]
    assert driver.tasks[INPUT].lag == 1


def test_a_changed_user_may_wait_for_more() -> None:
    driver = one_partition()
    driver.pipe(ALICE)
    driver.step(INPUT)
    driver.step(USER, publish=False)
    assert driver.output == []
    driver.checkpoint(USER)
    assert len(driver.output) == 1


def test_what_cannot_be_read_is_a_dead_letter_byte_for_byte() -> None:
    driver = one_partition()
    driver.pipe(b'{"session_id": 1.5}', key=b"k", headers=[("trace", b"1")])
    driver.pipe(b"\xff", timestamp=-1)
    driver.pipe(ALICE)
    driver.process()
    first, second = driver.dead_letters
    assert (first.key, first.value, first.headers[0]) == (b"k", b'{"session_id": 1.5}', ("trace", b"1"))
    letter = DeadLetter.from_headers(first.headers)
    assert letter is not None
    assert (letter.reason, letter.field, letter.source_offset) == ("wrong_type", "session_id", 0)
    assert letter.source_timestamp_ms == round(NOON * 1000)
    letter = DeadLetter.from_headers(second.headers)
    assert letter is not None
    assert (letter.reason, letter.source_topic, letter.source_timestamp_ms) == ("not_json", "autoplay.actions", None)
    assert shown(driver.context("alice")) == ["pay"]


def test_what_is_nobodys_context_is_counted() -> None:
    driver = one_partition()
    driver.pipe(None)
    driver.pipe({**ALICE, "type": "summary"})
    driver.process()
    assert driver.tasks[INPUT].counts == {"null_value": 1, "other_type": 1}
    assert driver.output == []


def test_a_user_is_erased() -> None:
    driver = TopologyDriver()
    driver.pipe(ALICE)
    driver.process()
    driver.clock.advance(1)
    driver.reset_user("alice")
    driver.process()
    assert driver.contexts() == {"alice": None}
    assert driver.output[-1].value is None


def test_a_reset_may_carry_an_earlier_time() -> None:
    driver = TopologyDriver()
    driver.pipe(ALICE)
    driver.clock.advance(5)
    driver.reset_user("bob", mark=NOON - 1)
    driver.pipe({**ALICE, "user_id": "bob", "forwarded_at": NOON}, key=b"ps_2")
    driver.process()
    assert shown(driver.context("bob")) == ["pay"]


def test_users_expire_when_the_clock_moves_on() -> None:
    driver = TopologyDriver(Settings(lookback_seconds=30))
    driver.pipe(ALICE)
    driver.process()
    driver.advance(30)
    assert driver.context("alice") is not None
    driver.advance(0.5)
    assert driver.contexts() == {"alice": None}


def test_users_do_not_expire_while_something_is_unread() -> None:
    driver = one_partition(Settings(lookback_seconds=30))
    driver.pipe(ALICE)
    driver.process()
    driver.pipe(doing("more"))
    driver.step(INPUT)
    driver.advance(31)
    assert driver.context("alice") is not None


# --- crashes ----------------------------------------------------------------------------------------------------------


def test_a_crash_loses_what_was_not_delivered_and_the_next_task_does_it_again() -> None:
    driver = one_partition()
    for number in range(3):
        driver.pipe(doing(str(number), user="alice"))
    driver.step(INPUT, deliver=False)
    assert len(driver.tasks[INPUT].unflushed) == 3
    driver.crash(INPUT)
    assert driver.repartition == []
    driver.process()
    assert shown(driver.context("alice")) == ["0", "1", "2"]


def test_any_part_of_the_output_may_survive_a_crash() -> None:
    driver = one_partition()
    for number in range(3):
        driver.pipe(doing(str(number), user="alice"))
    driver.step(INPUT, deliver=False)
    driver.crash(INPUT, delivered=[False, True])
    driver.step(USER)
    assert shown(driver.context("alice")) == ["1"]
    driver.process()
    assert shown(driver.context("alice")) == ["0", "1", "2"]
    assert len(driver.repartition) == 4


def test_all_tasks_can_crash_at_once() -> None:
    driver = one_partition()
    driver.pipe(ALICE)
    driver.process()
    driver.pipe(doing("more"))
    driver.step(INPUT, deliver=False)
    driver.crash(delivered=[True])
    assert len(driver.repartition) == 2
    driver.process()
    assert shown(driver.context("alice")) == ["pay", "more"]


def test_a_successor_restores_from_what_is_committed() -> None:
    driver = one_partition()
    driver.pipe(ALICE)
    driver.process()
    driver.checkpoint()
    driver.crash()
    stage = driver.tasks[USER].stage
    assert isinstance(stage, ByUser)
    assert driver.tasks[USER].is_restoring
    driver.checkpoint()  # commits nothing of a task that restores
    driver.step(INPUT)
    assert len(driver.repartition) == 1, "what is committed is not emitted again"
    driver.pipe(doing("more"))
    driver.process()
    assert stage.user_count == 1
    assert shown(driver.context("alice")) == ["pay", "more"]


def test_a_clean_restart_repeats_only_the_newest_records() -> None:
    driver = one_partition()
    driver.pipe(ALICE)
    driver.pipe(doing("more"))
    driver.process(records=1)
    before = driver.contexts()
    driver.restart()
    driver.process()
    assert driver.contexts() == before
    assert len(driver.repartition) == 2


def test_a_zombie_goes_on_while_another_task_owns_its_partition() -> None:
    driver = one_partition()
    driver.pipe(ALICE)
    zombie = driver.lose(INPUT)
    driver.process()
    zombie.step()
    assert len(driver.repartition) == 2
    driver.process()
    assert shown(driver.context("alice")) == ["pay"]
    assert driver.tasks[INPUT] is not zombie


def test_the_state_can_be_looked_at() -> None:
    driver = one_partition()
    driver.pipe(doing("before anybody knew"))
    driver.process()
    stage = driver.tasks[INPUT].stage
    assert isinstance(stage, BySession)
    assert (stage.session_count, stage.held_payloads, stage.held_sessions) == (1, 1, 1)
    assert [orjson.loads(record.value or b"")["session_id"] for record in driver.log(INPUT)] == ["ps_1"]
    assert driver.context("nobody") is None
