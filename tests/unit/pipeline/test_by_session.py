"""The first stage: whose a session is, and what it holds until that is known."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import count

import pytest

from schemas.codec import Payload, WireAction
from worker.context.session_memory import place_of, source_of
from worker.pipeline.by_session import KEEP_SOURCE_SIZE, BySession, LinkPolicy
from worker.pipeline.reading import arrival_of
from worker.pipeline.restore_point import RestorePoint

POLICY = LinkPolicy(retention_s=20, link_retention_s=40, max_actions_per_session=4, max_held_sessions=2)
START = 1000.0


class Partition:
    """One input partition: sends payloads, each at its time, and remembers what each one yielded."""

    def __init__(self, policy: LinkPolicy = POLICY, start: RestorePoint | None = None) -> None:
        self.stage = BySession(policy, start or RestorePoint(0))
        self._offsets = count(self.stage.next_offset)

    def send(
        self,
        at: float,
        session: str = "a",
        user: str = "",
        *,
        product: str = "",
        actions: int = 1,
        restoring: bool = False,
    ) -> list[tuple[str, int]]:
        """(user, offset) of everything that goes out because of it."""
        offset = next(self._offsets)
        payload = Payload(session, product, user, "", "", [WireAction()] * actions, START + at)
        arrival = arrival_of(payload, source_of(3, offset), START + at, START + at)
        emissions = self.stage.apply(offset, arrival, offset, restoring=restoring)
        out = []
        for routed, kept in emissions:
            partition, number = place_of(routed.source)
            assert partition == 3
            assert kept == (number if number == offset else None)  # what was held is small
            out.append((routed.user_id, number))
        return out


def test_a_payload_goes_to_the_user_it_names() -> None:
    assert Partition().send(0, user="alice") == [("alice", 0)]


def test_what_came_before_the_user_was_known_goes_first() -> None:
    partition = Partition()
    assert partition.send(0) == []
    assert partition.send(1) == []
    assert partition.stage.held_payloads == 2
    assert partition.send(2, user="alice") == [("alice", 0), ("alice", 1), ("alice", 2)]
    assert partition.stage.held_payloads == partition.stage.held_sessions == 0


def test_a_linked_session_stays_with_its_user_without_naming_them() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    assert partition.send(1) == [("alice", 1)]


def test_after_a_switch_what_follows_is_the_new_users_only() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    assert partition.send(1, user="bob") == [("bob", 1)]
    assert partition.send(2) == [("bob", 2)]
    assert partition.stage.counts["users_switched"] == 1


def test_sessions_and_products_do_not_mix() -> None:
    partition = Partition()
    partition.send(0, product="acme", user="alice")
    assert partition.send(1, product="other") == []
    assert partition.send(2, session="b", product="acme") == []
    assert partition.send(3, product="other", user="bob") == [("bob", 1), ("bob", 3)]


def test_a_session_not_seen_for_longer_than_the_retention_starts_anew() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    assert partition.send(20) == [("alice", 1)]
    assert partition.send(40.5) == []


def test_a_link_not_confirmed_within_the_link_retention_is_forgotten() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    for at in (15, 30, 40):
        assert partition.send(at) != []
    assert partition.send(41) == []
    assert partition.stage.counts["links_lapsed"] == 1
    assert partition.send(42, user="alice") == [("alice", 4), ("alice", 5)]


def test_a_confirmation_renews_the_link() -> None:
    partition = Partition()
    for at in (0, 15, 30):
        partition.send(at, user="alice")
    for at in (45, 60, 70):
        assert partition.send(at) != []


def test_held_payloads_leave_with_the_retention() -> None:
    partition = Partition()
    partition.send(0)
    partition.send(10)
    assert partition.send(21, user="alice") == [("alice", 1), ("alice", 2)]


def test_the_oldest_held_payload_goes_beyond_the_actions_of_a_session() -> None:
    partition = Partition()
    for at, actions in enumerate([2, 0, 1, 1]):
        partition.send(at, actions=actions)
    assert partition.stage.counts["held_payloads_dropped"] == 1
    assert partition.send(9, user="alice") == [("alice", 1), ("alice", 2), ("alice", 3), ("alice", 4)]


def test_the_newest_held_payload_stays_whatever_its_size() -> None:
    partition = Partition()
    partition.send(0)
    partition.send(1, actions=9)
    assert partition.send(2, user="alice") == [("alice", 1), ("alice", 2)]


def test_the_session_that_holds_the_oldest_lets_go_beyond_max_held_sessions() -> None:
    partition = Partition()
    for at, session in enumerate("abc"):
        partition.send(at, session=session)
    assert partition.stage.held_sessions == 2
    assert partition.stage.counts["held_sessions_dropped"] == 1
    assert partition.send(3, session="a", user="alice") == [("alice", 3)]
    assert partition.send(4, session="b", user="bob") == [("bob", 1), ("bob", 4)]


def test_a_large_payload_is_held_with_what_it_came_in() -> None:
    stage = BySession(POLICY, RestorePoint(0))
    large = "x" * KEEP_SOURCE_SIZE
    for offset, (description, conversation_id) in enumerate([(large, ""), ("small", ""), ("small", large)]):
        payload = Payload("a", "", "", "", conversation_id, [WireAction(description=description)], START)
        stage.apply(offset, arrival_of(payload, offset, START, START), f"record {offset}")
    named = Payload("a", "", "alice", "", "", [], START)
    emissions = stage.apply(3, arrival_of(named, 3, START, START), "record 3")
    assert [kept for _, kept in emissions] == ["record 0", None, "record 2", "record 3"]


def test_a_crowd_of_sessions_without_a_user_takes_no_more_than_it_may_hold() -> None:
    partition = Partition()
    for number in range(1000):
        partition.send(number / 1000, session=f"visitor {number}")
    assert partition.stage.session_count == partition.stage.held_sessions == POLICY.max_held_sessions


def test_a_linked_session_outlives_that_it_must_let_go_of_what_it_holds() -> None:
    partition = Partition(replace(POLICY, link_retention_s=5))
    partition.send(0, session="a", user="alice")
    partition.send(6, session="a")
    partition.send(7, session="b")
    partition.send(8, session="c")
    assert partition.stage.counts["held_sessions_dropped"] == 1
    assert partition.stage.restore_point().offset == 0
    assert partition.send(9, session="a", user="alice") == [("alice", 4)]


def test_a_session_that_holds_only_what_is_too_old_costs_no_other_its_place() -> None:
    partition = Partition()
    partition.send(0, session="a")
    partition.send(15, session="b")
    partition.send(21, session="c")
    assert partition.stage.counts["held_sessions_dropped"] == 0
    assert partition.send(22, session="b", user="bob") == [("bob", 1), ("bob", 3)]


def test_what_is_too_old_does_not_decide_which_session_lets_go() -> None:
    partition = Partition()
    partition.send(0, session="a")
    partition.send(15, session="b")
    partition.send(16, session="a")
    partition.send(21, session="c")  # by now what `a` held first is too old, so `b` holds the oldest
    assert partition.send(22, session="b", user="bob") == [("bob", 4)]
    assert partition.send(22, session="a", user="alice") == [("alice", 2), ("alice", 5)]


def test_user_ids_of_a_pattern_count_as_absent() -> None:
    partition = Partition(LinkPolicy(anonymous_user_id=re.compile("^anon-")))
    assert partition.send(0, user="anon-1") == []
    assert partition.send(1, user="alice") == [("alice", 0), ("alice", 1)]
    assert partition.send(2, user="anon-2") == [("alice", 2)]
    assert partition.stage.counts["anonymous_user_id"] == 2


def test_nothing_is_emitted_while_restoring() -> None:
    partition = Partition()
    assert partition.send(0, restoring=True) == []
    assert partition.send(1, user="alice", restoring=True) == []
    assert partition.send(2, restoring=True) == []
    assert partition.send(3) == [("alice", 3)]


def test_an_older_record_does_not_move_stream_time_back() -> None:
    partition = Partition()
    partition.send(10)
    partition.send(3)
    assert partition.stage.stream_time == START + 10


def test_a_skipped_record_and_a_gap_in_the_log_only_move_the_position() -> None:
    stage = Partition().stage
    stage.skip(4)
    assert stage.next_offset == 5
    stage.advance_to(9)
    stage.advance_to(7)
    assert stage.next_offset == 9
    assert stage.restore_point() == RestorePoint(9, sound_from=0)


def test_the_restore_point_is_the_next_record_when_nothing_is_remembered() -> None:
    partition = Partition()
    partition.send(0)
    partition.send(21, session="b")
    partition.send(42, session="c")
    partition.stage.skip(3)
    assert partition.stage.restore_point() == RestorePoint(2, START + 21, 0)


def test_the_restore_point_is_the_oldest_held_payload_or_confirmation_with_the_stream_time_before_it() -> None:
    partition = Partition()
    partition.send(0, session="x", user="xavier")
    partition.send(1, session="x", user="xavier")
    partition.send(2)
    assert partition.stage.restore_point() == RestorePoint(1, START, 0)
    for at in (21, 41, 61):
        partition.send(at, session="x")
    assert partition.stage.restore_point() == RestorePoint(1, START, 0)
    partition.send(62, session="x")
    assert partition.stage.restore_point() == RestorePoint(5, START + 41, 0), "the confirmation no longer matters"


def test_sessions_are_forgotten_after_the_retention() -> None:
    partition = Partition()
    partition.send(0, session="a")
    partition.send(1, session="b", user="bob")
    assert partition.stage.session_count == 2
    partition.send(21.5, session="c")
    assert partition.stage.session_count == 1
    assert partition.stage.held_sessions == 1


@pytest.mark.parametrize("product", ["", "acme"])
def test_the_queue_of_held_payloads_is_tidied(product: str) -> None:
    partition = Partition()
    for at in range(300):
        partition.send(at / 100, session=f"s{at % 2}", product=product)
    assert len(partition.stage._held_order) < 100
    assert partition.stage.held_payloads == 8
