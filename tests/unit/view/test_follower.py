"""Following the topic: found late, read from the start, grown, silent, deleted, made anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.fakes.broker import FakeBroker, FakeClock
from tests.fakes.view_reader import FakeViewReader
from tests.payloads import NOW
from tests.user_records import record
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError
from worker.partitioner import partition_of
from worker.view.follower import REREAD_AFTER_S, SAME_TOPIC_S, UNSERVED_S, Follower
from worker.view.status import SILENT_S, ViewStatus, status_of
from worker.view.table import ContextTable

TOPIC = "context"


class Setup:
    """A follower over a broker of lists."""

    def __init__(self, partitions: int = 2, share: set[int] | None = None) -> None:
        self.clock = FakeClock(NOW)
        self.broker = FakeBroker({TOPIC: partitions} if partitions else {}, self.clock)
        self.table = ContextTable()
        self.readers: list[FakeViewReader] = []
        self.changed: list[str] = []
        self.follower = Follower(
            self._make, TOPIC, self.table, share, self.changed.extend, monotonic=self.clock.monotonic
        )

    def _make(self, on_statistics: Callable[[str], None], on_error: Callable[[KafkaError], None]) -> FakeViewReader:
        self.readers.append(FakeViewReader(self.broker, on_statistics, on_error))
        return self.readers[-1]

    @property
    def reader(self) -> FakeViewReader:
        return self.readers[-1]

    def status(self) -> ViewStatus:
        return status_of(self.follower.partitions.values(), self.clock.monotonic(), failed=False)

    def write(self, user: str, version: int | None) -> None:
        self.broker.append(TOPIC, user.encode(), None if version is None else record(user, version))

    def steps(self, count: int = 5) -> None:
        for _ in range(count):
            self.follower.step()

    def heard(self, **what: bool | float) -> None:
        """The client tells its statistics, and they are taken in."""
        self.reader.say_statistics(TOPIC, **what)  # type: ignore[arg-type]
        self.steps(2)

    def versions(self) -> dict[str, int]:
        found = {user: self.table.get(user, None, NOW) for user in self.table._entries}
        return {user: context.version for user, context in found.items() if context is not None}


@pytest.fixture
def here() -> Setup:
    return Setup()


def test_everything_is_read_and_then_what_comes(here: Setup) -> None:
    for number in range(1000):
        here.write(f"u{number % 10}", number)
    here.steps(1)
    assert here.status() is ViewStatus.LOADING
    here.steps()
    assert here.status() is ViewStatus.CAUGHT_UP
    assert here.versions() == {f"u{number % 10}": number for number in range(990, 1000)}
    assert here.changed == []  # nobody is told of what was there before
    here.write("u1", 2000)
    here.write("u1", None)
    here.write("u2", 2001)
    here.steps()
    assert sorted(here.changed) == ["u1", "u2"]
    assert here.status() is ViewStatus.CAUGHT_UP


def test_that_there_is_no_topic_is_told_as_long_as_it_is_so() -> None:
    here = Setup(partitions=0)
    here.steps()
    here.reader.say_statistics(TOPIC)
    here.reader.poll(0)
    assert here.follower.trouble == f"there is no topic {TOPIC}"


def test_a_topic_that_comes_late_is_waited_for() -> None:
    here = Setup(partitions=0)
    here.steps()
    assert (here.status(), here.follower.trouble) == (ViewStatus.LOADING, f"there is no topic {TOPIC}")
    here.broker.logs[TOPIC, 0] = []
    here.broker.starts[TOPIC, 0] = 0
    here.write("u", 1)
    here.steps()
    assert (here.status(), here.versions(), here.follower.trouble) == (ViewStatus.CAUGHT_UP, {"u": 1}, "")


def test_a_broker_that_is_away_at_the_start_is_waited_for(here: Setup) -> None:
    here.broker.is_down = True
    here.steps()
    assert here.status() is ViewStatus.LOADING
    assert here.follower.trouble
    here.broker.is_down = False
    here.steps()
    assert here.status() is ViewStatus.CAUGHT_UP


def test_a_wrong_credential_ends_it(here: Setup) -> None:
    here.broker.is_down = True  # nothing comes without one
    here.follower.step()
    here.reader.fail(KafkaError._AUTHENTICATION)
    with pytest.raises(Fatal) as raised:
        here.steps()
    assert raised.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_a_topic_that_may_not_be_read_ends_it(here: Setup) -> None:
    here.broker.is_down = True
    here.follower.step()
    here.broker.is_down = False
    here.reader.refuse_topic = KafkaError.TOPIC_AUTHORIZATION_FAILED
    with pytest.raises(Fatal) as raised:
        here.steps()
    assert raised.value.exit_code is ExitCode.NOT_AUTHORIZED


def test_a_right_that_is_taken_away_later_degrades_it(here: Setup) -> None:
    here.steps()
    here.reader.fail(KafkaError.TOPIC_AUTHORIZATION_FAILED, (TOPIC, 0))
    here.steps()
    assert here.follower.trouble
    here.clock.sleep(SILENT_S)
    assert here.status() is ViewStatus.DEGRADED


def test_a_reader_needs_no_right_on_a_group(here: Setup) -> None:
    here.follower.step()
    here.reader.fail(KafkaError.GROUP_AUTHORIZATION_FAILED)
    here.steps()
    assert (here.status(), here.follower.trouble) == (ViewStatus.CAUGHT_UP, "")


def test_silence_degrades_and_an_answer_cures(here: Setup) -> None:
    here.steps()
    here.clock.sleep(SILENT_S + 0.1)
    assert here.status() is ViewStatus.DEGRADED
    here.heard(idle_s=SILENT_S + 0.1)
    assert here.status() is ViewStatus.DEGRADED
    here.follower.trouble = "it was away"
    here.heard()
    assert here.status() is ViewStatus.CAUGHT_UP
    assert here.follower.trouble == ""


def test_only_the_share_is_read() -> None:
    here = Setup(partitions=4, share={1, 3})
    users = [f"u{number}" for number in range(40)]
    for user in users:
        here.write(user, 1)
    here.steps()
    assert here.status() is ViewStatus.CAUGHT_UP
    assert set(here.versions()) == {user for user in users if partition_of(user.encode(), 4) in {1, 3}}


def test_a_share_beyond_the_topic_is_refused() -> None:
    here = Setup(partitions=2, share={1, 2})
    with pytest.raises(Fatal, match="has 2 partitions, none with the number 2"):
        here.steps()


def test_new_partitions_are_read_and_the_view_stays_ready(here: Setup) -> None:
    here.steps()
    here.broker.logs[TOPIC, 2] = []
    here.broker.starts[TOPIC, 2] = 0
    here.broker.append(TOPIC, b"new", record("new", 1), partition=2)
    here.reader.say_statistics(TOPIC)
    here.follower.step()
    assert here.status() is ViewStatus.DEGRADED
    here.steps()
    assert (here.status(), here.versions(), here.follower.count) == (ViewStatus.CAUGHT_UP, {"new": 1}, 3)


def test_records_that_were_deleted_before_they_were_read_are_made_up_for_by_reading_again(here: Setup) -> None:
    home = TOPIC, partition_of(b"u", 2)  # its null record came and went
    here.write("u", 5)
    here.steps()
    for number in range(6, 9):
        here.write("u", number)
    user = next(name for name in map(str, range(100)) if partition_of(name.encode(), 2) == home[1])
    here.write(user, 1)
    here.broker.delete_before(home, 4)
    here.steps(10)
    assert here.versions() == {user: 1}  # what may have been a null record is not served on
    assert "u" in here.changed
    assert here.status() is ViewStatus.CAUGHT_UP


def test_a_topic_that_is_made_anew_is_read_anew(here: Setup) -> None:
    here.write("kept", 90)
    here.write("gone", 91)
    here.steps()
    for at in here.broker.logs:
        here.broker.logs[at] = []
    here.write("kept", 1)
    here.heard(served=False)
    assert len(here.readers) == 1
    here.clock.sleep(UNSERVED_S + 1)
    here.heard(served=False)
    here.steps(10)
    assert here.readers[0].is_closed
    assert (len(here.readers), here.versions()) == (2, {"kept": 1})
    assert here.status() is ViewStatus.CAUGHT_UP
    assert sorted(here.changed) == ["gone", "kept"]


def test_a_topic_that_was_made_anew_within_a_moment_is_noticed(here: Setup) -> None:
    """Its offsets may look like those of the old one."""
    here.write("old", 90)
    here.steps()
    here.broker.logs[TOPIC, partition_of(b"old", 2)] = []
    here.write("old", 1)
    here.reader.id = None  # no answer is none
    here.clock.sleep(SAME_TOPIC_S + 1)
    here.steps(10)
    assert here.versions() == {"old": 90}
    here.reader.id = "second"
    here.clock.sleep(SAME_TOPIC_S + 1)
    here.steps(10)
    assert (len(here.readers), here.versions()) == (2, {"old": 1})


def test_a_topic_that_comes_back_with_fewer_partitions_loses_who_was_on_the_others(here: Setup) -> None:
    for number in range(20):
        here.write(f"u{number}", 1)
    here.steps()
    here.follower.close()
    del here.broker.logs[TOPIC, 1]
    here.steps(10)
    assert set(here.versions()) == {f"u{n}" for n in range(20) if partition_of(f"u{n}".encode(), 2) == 0}
    assert here.status() is ViewStatus.CAUGHT_UP


def test_a_leader_that_does_not_answer_is_no_reason_to_open_again(here: Setup) -> None:
    here.steps()
    here.broker.is_down = True
    for _ in range(3):
        here.clock.sleep(UNSERVED_S)
        here.heard(served=False)
    assert len(here.readers) == 1


def test_after_hours_out_of_sight_everything_is_read_again(here: Setup) -> None:
    here.write("u", 1)
    here.write("v", 1)
    here.steps()
    here.clock.sleep(REREAD_AFTER_S + 10)
    home = TOPIC, partition_of(b"u", 2)  # its null record came and went
    here.broker.logs[home] = [m for m in here.broker.records(TOPIC) if m.key() == b"v" and m.partition() == home[1]]
    here.heard()
    here.steps(10)
    assert here.versions() == {"v": 1}
    assert here.status() is ViewStatus.CAUGHT_UP


def test_a_client_that_cannot_go_on_is_replaced(here: Setup) -> None:
    here.write("u", 1)
    here.steps()
    here.reader.fail(KafkaError._FATAL)
    here.steps(10)
    assert (len(here.readers), here.versions(), here.status()) == (2, {"u": 1}, ViewStatus.CAUGHT_UP)
