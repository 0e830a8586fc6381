"""The second stage: who changed, what is published of them, and what is forgotten."""

from __future__ import annotations

from dataclasses import replace
from sys import maxsize
from typing import Any

import orjson

from tests.routed import routed
from worker.context.session_memory import NEVER
from worker.pipeline.by_user import ByUser, UserPolicy, UserStart
from worker.pipeline.large_records import LARGE_RECORD_BYTES, MOST_USERS
from worker.pipeline.rendering import RenderPolicy
from worker.pipeline.repartition import PUBLISH_AGAIN, Reset
from worker.pipeline.restore_point import RestorePoint

START = 1000.0
RENDER = RenderPolicy(lookback_s=10, max_sessions=2, max_actions_per_session=4)
POLICY = UserPolicy(RENDER, idle_after_s=2, expire_idle_users=True)


class Partition:
    """One repartition partition. `add` and `reset` fold a record in; times are relative to START."""

    def __init__(self, policy: UserPolicy = POLICY, start: UserStart | None = None) -> None:
        self.stage = ByUser(policy, start or UserStart(RestorePoint(0), 0, 0, START))

    def add(
        self,
        at: float,
        user: str = "alice",
        *,
        session: str = "a",
        source: int | None = None,
        stream: float | None = None,
        said: str = "",
        long: str = "",
    ) -> None:
        """`said`: the conversation and the email that the payload names. `long` makes its line as long."""
        offset = self.stage.next_offset
        t, s = START + at, START + (at if stream is None else stream)
        source = offset if source is None else source
        line = f"[0] click: {at:g} — {long}"
        payload = routed(user, t, source, line, stream_time=s, session_id=session, conversation_id=said, email=said)
        self.stage.apply(offset, s, [payload])

    def reset(self, at: float, user: str = "alice", *, mark: float | None = None) -> None:
        reset = Reset(user, None if mark is None else START + mark)
        self.stage.apply(self.stage.next_offset, START + at, reset)

    def record(self) -> Any:
        """The record of the one user that is published."""
        ((_, value),) = self.stage.publish(START)
        assert value is not None
        return orjson.loads(value)

    def waits(self) -> bool:
        return self.stage.has_changes

    def restores(self) -> bool:
        return self.stage.is_restoring

    def publish(self, now: float = 0, most: int = maxsize) -> dict[str, Any]:
        """User to the times of the actions in their record; None = a null record."""
        records = self.stage.publish(START + now, most)
        assert len(dict(records)) == len(records)
        return {user: value and times(value) for user, value in records}


def times(value: bytes) -> list[float]:
    contexts = [session["context"] for session in orjson.loads(value)["sessions"]]
    return [float(line.split("click: ")[1].split(" ")[0]) for text in contexts for line in text.split("\n")[1:]]


def restoring(committed: int, *, end: int | None = None, stream: float = NEVER, now: float = 0) -> UserStart:
    point = RestorePoint(0, stream if stream == NEVER else START + stream)
    return UserStart(point, committed, committed if end is None else end, START + now)


# --- changes ----------------------------------------------------------------------------------------------------------


def test_a_changed_user_is_published_once() -> None:
    partition = Partition()
    assert not partition.waits()
    partition.add(0)
    partition.add(1)
    assert partition.waits()
    assert partition.publish() == {"alice": [0, 1]}
    assert not partition.waits()
    assert partition.publish() == {}


def test_only_the_users_that_changed_are_published() -> None:
    partition = Partition()
    partition.add(0)
    partition.add(0, "bob")
    partition.publish()
    partition.add(1, "bob")
    assert partition.publish() == {"bob": [0, 1]}


def test_a_repeat_changes_nothing_but_is_published_again() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.add(0, source=0)
    assert partition.publish() == {"alice": [0]}


def test_a_record_that_did_not_get_out_is_rendered_again() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    assert partition.stage.change_again("alice")
    assert partition.publish() == {"alice": [0]}
    assert not partition.stage.change_again("bob")


def test_a_late_payload_is_counted_and_not_added() -> None:
    partition = Partition()
    partition.add(0)
    partition.add(21, "bob")
    partition.publish()
    partition.add(0.5)
    partition.add(0.5, "carol")
    assert partition.publish() == {}
    assert partition.stage.counts["late"] == 2


def test_a_payload_within_the_retention_is_never_late() -> None:
    partition = Partition()
    partition.add(20, "bob")
    partition.add(0)
    assert partition.publish() == {"bob": [20], "alice": None}
    assert partition.stage.counts["late"] == 0


def test_a_user_of_too_many_sessions_loses_those_seen_least_recently() -> None:
    partition = Partition()
    for number in range(23):
        partition.add(number / 10, session=f"s{number:02}")
    assert partition.stage.counts["sessions_dropped"] == 3
    assert min(session_id for _, session_id in partition.stage._users["alice"].sessions) == "s03"


# --- versions ---------------------------------------------------------------------------------------------------------


def version(partition: Partition) -> int:
    ((_, value),) = partition.stage.publish(START)
    assert value is not None
    return int(orjson.loads(value)["version"])


def test_the_version_is_the_highest_offset_of_any_record_of_the_user() -> None:
    partition = Partition()
    partition.add(0)
    partition.add(1, "bob")
    partition.stage.publish(START)
    partition.add(1)
    assert version(partition) == 2
    partition.reset(2)  # 3
    partition.add(1)  # 4, erased
    partition.stage.publish(START)
    assert partition.stage.counts["erased"] == 1
    partition.add(5)
    assert version(partition) == 5
    partition.add(-30)  # 6, late
    partition.add(6, source=5)
    assert version(partition) == 7


# --- resets -----------------------------------------------------------------------------------------------------------


def test_a_reset_erases_and_says_so() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.reset(3)
    assert partition.publish() == {"alice": None}


def test_what_happened_up_to_a_reset_stays_erased_when_it_arrives_again_or_late() -> None:
    partition = Partition()
    partition.add(0)
    partition.reset(3)
    partition.add(0, source=0)
    partition.add(3)
    partition.add(4)
    assert partition.publish() == {"alice": [4]}
    assert partition.stage.counts["erased"] == 2


def test_a_reset_reaches_up_to_the_newest_event_when_that_is_ahead_of_it() -> None:
    partition = Partition()
    partition.add(5, stream=2)
    partition.reset(3)
    partition.add(4)
    partition.add(6)
    assert partition.publish() == {"alice": [6]}


def test_a_reset_may_carry_its_original_mark() -> None:
    partition = Partition()
    partition.reset(50, mark=3)
    partition.add(3)
    partition.add(4)
    assert partition.publish() == {"alice": [4]}


def test_a_reset_that_carries_its_mark_erases_nothing_that_happened_since() -> None:
    partition = Partition()
    partition.add(2, session="old")
    partition.add(3, session="both", said="then")
    partition.add(4, session="both")
    partition.reset(50, mark=3)
    record = partition.record()
    assert [session["session_id"] for session in record["sessions"]] == ["both"]
    assert "click: 4" in record["sessions"][0]["context"]
    assert "click: 3" not in record["sessions"][0]["context"]
    assert (record["email"], record["sessions"][0]["conversation_id"]) == (None, None)


def test_what_is_newer_than_a_mark_keeps_its_email_and_conversation() -> None:
    partition = Partition()
    partition.add(4, said="now")
    partition.reset(50, mark=3)
    record = partition.record()
    assert (record["email"], record["sessions"][0]["conversation_id"]) == ("now", "now")


def test_of_many_users_as_many_are_published_as_are_asked_for() -> None:
    partition = Partition()
    for number, user in enumerate(["alice", "bob", "carol"]):
        partition.add(number, user)
    first = partition.publish(most=2)
    assert (len(first), partition.waits(), len(partition.stage.published_events)) == (2, True, 2)
    assert first | partition.publish(most=2) == {"alice": [0], "bob": [1], "carol": [2]}
    assert not partition.waits()
    assert partition.publish(most=2) == {}


def test_nobody_is_forgotten_who_waits_for_the_next_portion() -> None:
    partition = Partition()
    partition.add(0)
    partition.add(15, "bob")
    assert partition.publish()["alice"] is None
    partition.reset(15, mark=-100)
    partition.add(25, "bob")
    assert partition.publish(most=1) == {"bob": [15, 25]}
    assert partition.publish(most=1) == {"alice": None}
    assert partition.stage.user_count == 1


def test_a_user_can_be_published_again_as_the_record_stands() -> None:
    partition = Partition()
    partition.add(4)
    partition.publish()
    partition.stage.apply(partition.stage.next_offset, START + 50, Reset("alice", PUBLISH_AGAIN))
    partition.stage.apply(partition.stage.next_offset, START + 50, Reset("nobody", PUBLISH_AGAIN))
    assert partition.publish() == {"alice": [4], "nobody": None}
    partition.add(4.5)
    partition.publish()
    assert partition.stage.user_count == 1


def test_an_earlier_mark_does_not_take_a_later_one_back() -> None:
    partition = Partition()
    partition.reset(5)
    partition.reset(6, mark=2)
    partition.add(4)
    assert partition.publish() == {"alice": None}


def test_a_reset_does_not_move_stream_time() -> None:
    partition = Partition()
    partition.add(0)
    partition.reset(50, "bob")
    assert partition.stage.stream_time == START
    partition.add(-5)
    assert partition.publish() == {"alice": [-5, 0], "bob": None}


def test_a_reset_of_an_unknown_user_is_published_and_remembered() -> None:
    partition = Partition()
    partition.reset(3)
    assert partition.publish() == {"alice": None}
    partition.add(2)
    assert partition.publish() == {}


def test_a_mark_lives_for_the_retention() -> None:
    partition = Partition()
    partition.reset(0)
    partition.add(20, "bob")
    partition.publish()
    assert partition.stage.user_count == 2
    partition.add(20.5, "bob")
    partition.publish()
    assert partition.stage.user_count == 1


def test_a_later_mark_lives_for_the_retention_after_itself() -> None:
    partition = Partition()
    partition.reset(0)
    partition.publish()
    partition.reset(15)
    partition.add(20.5, "bob")
    partition.publish()
    partition.add(14)
    assert partition.publish() == {}
    assert partition.stage.counts["erased"] == 1


def test_a_mark_that_is_over_erases_nothing_of_a_user_who_is_still_here() -> None:
    partition = Partition()
    partition.reset(0)
    partition.add(15)
    partition.add(35)
    assert partition.publish() == {"alice": [35]}
    assert partition.stage._users["alice"].mark == NEVER


# --- expiry -----------------------------------------------------------------------------------------------------------


def test_a_user_expires_when_stream_time_is_more_than_the_lookback_ahead() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.add(10, "bob")
    assert partition.publish() == {"bob": [10]}
    partition.add(10.5, "bob")
    assert partition.publish() == {"bob": [10, 10.5], "alice": None}
    partition.add(11, "bob")
    assert partition.publish() == {"bob": [10, 10.5, 11]}


def test_a_user_who_goes_on_does_not_expire_by_an_old_deadline() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.add(8)
    partition.publish()
    partition.add(12, "bob")
    assert partition.publish() == {"bob": [12]}
    partition.add(19, "bob")
    assert partition.publish() == {"bob": [12, 19], "alice": None}


def test_a_user_is_not_published_for_an_old_deadline_while_the_record_still_stands() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.add(1)
    partition.publish()
    partition.add(11, "bob")
    assert partition.publish() == {"bob": [11]}


def test_a_silent_partition_expires_its_users_by_the_wall_clock() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    assert partition.publish(10) == {}
    assert partition.publish(10.5) == {"alice": None}
    assert partition.publish(11) == {}


def test_silence_begins_with_the_last_record() -> None:
    partition = Partition(UserPolicy(RENDER, idle_after_s=15))
    partition.add(0)
    partition.publish()
    assert partition.publish(14.9) == {}
    assert partition.publish(15) == {"alice": None}


def test_users_do_not_expire_by_the_wall_clock_before_the_end_is_read() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.stage.idle_clock.see_end(2)
    partition.stage.idle_clock.see_end(1)
    assert partition.publish(50) == {}
    partition.add(45)
    assert partition.publish(50) == {"alice": [45]}
    assert partition.stage.clock(START + 50) == START + 50


def test_after_a_gap_in_the_process_the_silence_begins_anew() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.stage.idle_clock.stay_awake(START + 50)
    partition.add(1, "bob")  # was in the client's queue all the time; more may be on its way
    assert partition.publish(51) == {"bob": [1]}
    assert partition.publish(52) == {"alice": None, "bob": None}


def test_users_do_not_expire_by_the_wall_clock_when_that_is_off() -> None:
    partition = Partition(UserPolicy(RENDER, expire_idle_users=False))
    partition.add(0)
    partition.publish()
    assert partition.publish(1e9) == {}


def test_an_expired_user_who_comes_back_is_published_again() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    assert partition.publish(11) == {"alice": None}
    partition.add(11)
    assert partition.publish(11) == {"alice": [11]}
    assert partition.publish(22) == {"alice": None}


# --- forgetting -------------------------------------------------------------------------------------------------------


def test_an_expired_user_is_remembered_for_the_retention() -> None:
    partition = Partition()
    partition.add(0)
    partition.add(11, "bob")
    assert partition.publish() == {"alice": None, "bob": [11]}
    partition.add(1, source=99)
    assert partition.publish() == {"alice": [0, 1]}, "a late neighbour finds the others"
    partition.add(20.5, "bob")
    partition.publish()
    assert partition.stage.user_count == 2
    partition.add(21.5, "bob")
    partition.publish()
    assert partition.stage.user_count == 1


def test_a_user_is_not_forgotten_before_their_null_is_published() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    partition.add(500, "bob")
    assert partition.publish() == {"bob": [500], "alice": None}
    assert partition.stage.user_count == 1


def test_a_user_who_comes_back_in_time_is_not_forgotten() -> None:
    partition = Partition()
    partition.add(0)
    partition.publish()
    assert partition.publish(11) == {"alice": None}
    partition.add(15)
    partition.publish(15)
    partition.add(25, "bob")
    partition.publish(25)
    assert partition.stage.user_count == 2
    assert partition.stage.change_again("alice")
    assert partition.publish(25) == {"alice": [15]}


def test_a_user_whose_memory_grew_after_their_null_is_kept_until_that_is_old() -> None:
    partition = Partition()
    partition.reset(0)
    partition.publish()
    partition.add(12, "bob")
    partition.add(1)
    assert partition.publish() == {"bob": [12], "alice": None}
    partition.add(20.5, "bob")
    partition.publish()
    assert partition.stage.user_count == 2
    partition.add(21.5, "bob")
    partition.publish()
    assert partition.stage.user_count == 1


# --- restoring --------------------------------------------------------------------------------------------------------


def test_nothing_is_published_while_restoring() -> None:
    partition = Partition(start=restoring(2))
    partition.add(0)
    assert partition.restores()
    assert partition.publish() == {}
    partition.add(1)
    assert not partition.restores()
    assert partition.publish() == {"alice": [0, 1]}


def test_restored_users_are_published_at_the_end_that_was_seen_at_assignment() -> None:
    partition = Partition(start=restoring(1, end=3))
    partition.add(0)
    assert partition.publish() == {}
    partition.add(1, "bob")
    assert partition.publish() == {"bob": [1]}
    partition.add(1, "carol")
    assert partition.publish() == {"carol": [1], "alice": [0]}


def test_restored_users_who_expire_before_the_end_are_published_as_null_there_and_then() -> None:
    partition = Partition(start=restoring(1, end=3))
    partition.add(0)
    partition.add(11, "bob")
    assert partition.publish() == {"bob": [11], "alice": None}
    partition.add(12, "carol")
    assert partition.publish() == {"carol": [12], "alice": None}


def test_a_restored_reset_is_published_as_null() -> None:
    partition = Partition(start=restoring(2))
    partition.add(0)
    partition.reset(1)
    assert partition.publish() == {"alice": None}


def test_a_restored_task_goes_on_from_the_committed_stream_time() -> None:
    partition = Partition(start=restoring(3, stream=21))
    partition.add(0)
    partition.add(5, "bob")
    assert partition.stage.stream_time == START + 21
    partition.add(21, "bob")
    assert partition.publish() == {"bob": [21]}
    assert partition.stage.counts["late"] == 1


def test_without_a_committed_stream_time_it_is_found_while_restoring() -> None:
    partition = Partition(start=restoring(2))
    partition.add(0)
    partition.add(21, "bob")
    assert partition.stage.stream_time == START + 21
    assert partition.publish() == {"bob": [21], "alice": None}


def test_a_gap_at_the_end_of_the_restore_is_passed_over() -> None:
    partition = Partition(start=restoring(3))
    partition.add(0)
    partition.stage.advance_to(3)
    partition.stage.advance_to(1)
    assert not partition.restores()
    assert partition.publish() == {"alice": [0]}


def test_a_restore_of_a_long_log_sheds_what_is_beyond_the_retention_and_still_says_null() -> None:
    partition = Partition(start=restoring(4))
    partition.add(0)
    partition.add(0, "bob")
    partition.add(15, "bob")
    partition.add(30, "carol")
    assert not partition.stage._users["alice"].sessions
    assert partition.publish() == {"carol": [30], "alice": None, "bob": None}


def test_who_was_shed_and_comes_back_before_the_restore_ends_is_whole() -> None:
    partition = Partition(start=restoring(4, end=5))
    partition.add(0)
    partition.add(30, "bob")
    partition.add(31)
    partition.add(32, "bob")
    assert partition.publish() == {}, "restored users wait for the end"
    partition.add(33, "carol")
    assert partition.publish() == {"carol": [33], "alice": [31], "bob": [30, 32]}


# --- the restore point ------------------------------------------------------------------------------------------------


def test_the_restore_point_is_the_next_record_when_nothing_is_remembered() -> None:
    partition = Partition()
    assert partition.stage.restore_point() == RestorePoint(0)
    partition.add(0)
    partition.stage.advance_to(9)
    assert partition.stage.restore_point() == RestorePoint(0, START)


def test_the_restore_point_is_the_oldest_record_within_the_retention() -> None:
    partition = Partition()
    for at in (0, 5, 10, 15, 20, 25):
        partition.add(at)
        partition.publish()
    assert partition.stage.restore_point() == RestorePoint(1, START + 25)


def test_a_record_is_not_lost_because_it_stands_behind_one_that_is_a_little_older() -> None:
    partition = Partition()
    partition.add(0)
    partition.add(0.25)
    partition.add(20.125, "bob")
    partition.publish()
    assert partition.stage.restore_point() == RestorePoint(0, START + 20.125)
    partition.add(20.5, "bob")
    partition.publish()
    assert partition.stage.restore_point() == RestorePoint(2, START + 20.5)


def test_a_reset_within_the_retention_is_read_again() -> None:
    partition = Partition()
    partition.add(0)
    partition.reset(5)
    partition.add(24, "bob")
    partition.publish()
    assert partition.stage.restore_point() == RestorePoint(1, START + 24)
    partition.add(25.5, "bob")
    partition.publish()
    assert partition.stage.restore_point() == RestorePoint(2, START + 25.5)


# --- large records ----------------------------------------------------------------------------------------------------

LARGE = replace(POLICY, render=replace(RENDER, max_sessions=3, max_actions_per_session=200))
LONG = "x" * LARGE_RECORD_BYTES


def kept_of(partition: Partition, user: str) -> list[bool]:
    """Of each session, in the order they came, whether it keeps its text."""
    sessions = partition.stage._users[user].sessions.values()  # memory that nobody is told of
    return [session.rendered is not None for session in sessions]


def publish_large(partition: Partition, user: str, since: float = 1) -> None:
    """Twice: what is large is known from the record before."""
    for at in (since, since + 1):
        partition.add(at, user, session="b", long=LONG)
        partition.publish()


def test_sessions_keep_their_texts_where_the_record_is_large() -> None:
    partition = Partition(LARGE)
    partition.add(1, "bob")
    publish_large(partition, "alice")
    partition.add(3, "alice", session="c")
    assert partition.publish() == {"alice": [3, 1, 2]}
    assert kept_of(partition, "alice") == [True, True]
    assert kept_of(partition, "bob") == [False]
    partition.add(4, "alice", session="c")
    assert kept_of(partition, "alice") == [True, False], "its payloads changed"
    assert partition.publish() == {"alice": [3, 4, 1, 2]}


def test_a_record_that_is_not_large_any_more_keeps_nothing() -> None:
    partition = Partition(LARGE)
    publish_large(partition, "alice")
    partition.add(12.5, "alice", session="c")
    assert partition.publish() == {"alice": [12.5]}
    assert kept_of(partition, "alice") == [False, False]
    partition.add(13, "alice", session="c")
    partition.publish()
    assert kept_of(partition, "alice") == [False, False]


def test_only_so_many_users_keep_texts_those_that_were_published_last() -> None:
    partition = Partition(LARGE)
    users = [f"user {number}" for number in range(MOST_USERS + 1)]
    for user in users[:-1]:
        publish_large(partition, user)
    partition.add(3, users[0], session="b")
    partition.publish()
    publish_large(partition, users[-1])
    keeping = [user for user in users if any(kept_of(partition, user))]
    assert keeping == [users[0], *users[2:]]


def test_a_user_with_a_large_record_may_have_been_forgotten_when_others_take_the_place() -> None:
    partition = Partition(LARGE)
    publish_large(partition, "alice")
    partition.add(40, "bob")
    partition.publish()
    assert partition.stage.user_count == 1
    for number in range(MOST_USERS):
        publish_large(partition, f"user {number}", 40)
    assert partition.stage.user_count == 1 + MOST_USERS


def test_what_a_reset_erases_is_in_no_kept_text() -> None:
    partition = Partition(LARGE)
    publish_large(partition, "alice")
    partition.add(3, session="c")
    assert partition.publish() == {"alice": [3, 1, 2]}
    partition.reset(4, mark=1)
    assert partition.publish() == {"alice": [3, 2]}


def test_who_has_no_record_any_more_keeps_no_text() -> None:
    partition = Partition(LARGE)
    publish_large(partition, "alice")
    assert kept_of(partition, "alice") == [True]
    assert partition.publish(now=30) == {"alice": None}
    assert kept_of(partition, "alice") == [False]
