"""How much is done for a payload, counted in calls: a guard against regressions that needs no quiet machine.

The bounds are upper ones, some tenths above what was counted. Where work was saved, lower them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import cache

import pytest

from benchmarks.load import even_crowd
from tests.fakes.broker import FakeBroker, Stored
from tests.operations import Operations, counted
from tests.unit.runtime.member import HOP, INPUT, OUTPUT, FakeMember, new_broker
from worker.context.session_memory import Seen, SessionMemory
from worker.partitioner import partition_of
from worker.pipeline.restore_point import RestorePoint, encode

PAYLOADS = 2000  # in one poll batch
FEW, MANY = 200, 2000  # users
CALLS_PER_PAYLOAD = 95
CALLS_PER_RECORD = 70
CALLS_PER_REMEMBERED = 15
CALLS_PER_IDLE_TURN = 300
RESTORING_BESIDE_LIVE = 0.8
ROOM = 1.05  # for what is done once in a batch or a checkpoint


class Worked:
    """A member that has worked off PAYLOADS of so many users, and then as many again; only those are counted."""

    def __init__(self, users: int) -> None:
        self.users = users
        self.broker = new_broker(partitions=4)
        self.member = FakeMember(self.broker, expire_idle_users=False)
        begin = self.broker.clock.wall() - 200
        load = even_crowd(users, begin=begin, interval_s=200 / (2 * PAYLOADS), count=2 * PAYLOADS)
        for payload in itertools.islice(load, PAYLOADS):
            self.broker.append(INPUT, payload.key, payload.value, timestamp=payload.time)
        self._work_off(PAYLOADS)
        for payload in load:
            self.broker.append(INPUT, payload.key, payload.value, timestamp=payload.time)
        before = self._written()
        with counted() as self.live:
            self._work_off(2 * PAYLOADS)
        self.routed, self.published = (now - then for now, then in zip(self._written(), before, strict=True))

    def _written(self) -> tuple[int, int]:
        return len(self.broker.records(HOP)), len(self.broker.records(OUTPUT))

    def _work_off(self, payloads: int) -> None:
        while _committed(self.broker) < payloads:
            self.member.turn()

    def idle(self) -> Operations:
        """Ten turns without anything to do."""
        self.member.settle()
        with counted() as operations:
            self.member.turn(10)
        return operations

    def restored(self) -> Operations:
        """Another member in its place, that reads everything again."""
        self.member.settle()
        for at in self.broker.logs:
            if at[0] in (INPUT, HOP):
                self.broker.commits[at] = Stored(self.broker.end(at), encode(RestorePoint(0)))
        another = FakeMember(self.broker, expire_idle_users=False)
        with counted() as operations:
            while not another.assignment.is_running:
                another.turn()
        return operations


def _committed(broker: FakeBroker) -> int:
    return sum(stored.offset for (topic, _), stored in broker.commits.items() if topic == INPUT)


worked: Callable[[int], Worked] = cache(Worked)


@pytest.mark.parametrize("users", [FEW, MANY])
def test_a_payload_is_parsed_once_on_each_hop(users: int) -> None:
    live = worked(users).live
    assert live.of("orjson.loads") <= PAYLOADS * ROOM
    assert live.of("orjson.loads", "json.decode", "msgpack.decode", "Decoder.decode") <= 2 * PAYLOADS * ROOM


@pytest.mark.parametrize("users", [FEW, MANY])
def test_a_payload_is_produced_once_and_each_user_of_a_batch_once(users: int) -> None:
    assert 0 < worked(users).routed <= PAYLOADS
    assert worked(users).published == users


def test_a_payload_takes_no_more_calls_than_it_did() -> None:
    assert worked(FEW).live.total <= PAYLOADS * CALLS_PER_PAYLOAD


@pytest.mark.parametrize("most", [200, 1000, 100_000])
def test_a_payload_takes_no_more_calls_where_many_actions_are_kept(most: int) -> None:
    """Of a session that has as many as it may have, too."""
    memory: SessionMemory[bytes] = SessionMemory()

    def add(numbers: range) -> None:
        for number in numbers:
            memory.add(Seen("", "", number, number, b"x" * 100, 1, "", ""), most, 512 * 1024)

    add(range(1000))
    with counted() as operations:
        add(range(1000, 2000))
    assert operations.total <= 1000 * CALLS_PER_REMEMBERED


def test_what_many_users_cost_more_than_few_is_their_records() -> None:
    more = worked(MANY).live.total - worked(FEW).live.total
    assert more <= (worked(MANY).published - worked(FEW).published) * CALLS_PER_RECORD


def test_users_who_did_nothing_cost_nothing() -> None:
    few, many = worked(FEW).idle(), worked(MANY).idle()
    assert few.total == many.total
    assert few.total <= 10 * CALLS_PER_IDLE_TURN


def test_restoring_a_payload_takes_fewer_calls_than_processing_it() -> None:
    live, restored = worked(FEW).live.total / PAYLOADS, worked(FEW).restored().total / (2 * PAYLOADS)
    assert restored <= live * RESTORING_BESIDE_LIVE


def test_calls_are_counted_by_name() -> None:
    """The guard itself: of our functions, and of those in C that they call."""
    with counted() as operations:
        for _ in range(3):
            partition_of(b"key", 4)
        sorted("not ours")
    assert operations.of("partition_of") == operations.of("worker.partitioner.partition_of") == 3
    assert operations.of("builtins.len") > 0
    assert operations.of("builtins.sorted") == 0
