"""Records of sessions without a user: what they say, when they change, and when they end."""

from __future__ import annotations

from itertools import count
from typing import Any

import orjson

from schemas.codec import Payload, WireAction
from schemas.user_context import VisitorContext
from worker.context.session_memory import source_of
from worker.pipeline.by_session import BySession, LinkPolicy
from worker.pipeline.reading import arrival_of
from worker.pipeline.rendering import RenderPolicy
from worker.pipeline.restore_point import RestorePoint
from worker.pipeline.visitors import VisitorPolicy, Visitors, VisitorStart

LINK = LinkPolicy(retention_s=20, link_retention_s=40, max_actions_per_session=4, max_held_sessions=2)
RENDER = RenderPolicy(lookback_s=10, max_actions_per_session=4)
START = 1000.0

Record = dict[str, Any] | None


class Partition:
    """One input partition with its visitors: payloads come, each at its time; `publish` says what the topic gets."""

    def __init__(
        self,
        link: LinkPolicy = LINK,
        *,
        render: RenderPolicy = RENDER,
        idle_after_s: float | None = None,
        start: RestorePoint | None = None,
        committed: int = 0,
        end: int = 0,
    ) -> None:
        policy = VisitorPolicy(render, link.retention_s, link.link_retention_s, idle_after_s)
        self.visitors = Visitors(policy, VisitorStart(committed, end, START))
        self.stage = BySession(link, start or RestorePoint(0), self.visitors)
        self._committed = committed
        self._offsets = count(self.stage.next_offset)

    def send(
        self,
        at: float,
        session: str = "a",
        user: str = "",
        *,
        product: str = "",
        actions: int = 1,
        email: str = "",
        conversation: str = "",
        event: float | None = None,
    ) -> None:
        offset = next(self._offsets)
        done = [WireAction(description=f"{offset}", type="click", canonical_url="/")] * actions
        event_time = START + (at if event is None else event)
        payload = Payload(session, product, user, email, conversation, done, event_time)
        arrival = arrival_of(payload, source_of(3, offset), event_time, START + at)
        self.stage.apply(offset, arrival, restoring=offset < self._committed)

    def publish(self, now: float = 0) -> dict[str, Record]:
        out = self.stage.publish_visitors(START + now)
        assert len({session_id for session_id, _ in out}) == len(out)
        return {session_id: None if value is None else orjson.loads(value) for session_id, value in out}


def told(record: Record) -> dict[str | None, list[int]]:
    """Of each product, the offsets of the payloads that a record tells of."""
    assert record is not None
    found = {}
    for session in record["sessions"]:
        lines = session["context"].split("\n")[1:]
        assert session["action_count"] == len(lines)
        found[session["product_id"]] = [int(line.split(": ")[1].split(" — ")[0]) for line in lines]
    return found


def test_a_session_without_a_user_is_published_once_for_a_batch() -> None:
    partition = Partition()
    partition.send(0)
    partition.send(1, conversation="k1")
    assert partition.publish() == {
        "a": {
            "schema_version": 1,
            "session_id": "a",
            "linked_user_id": None,
            "updated_at": START + 1,
            "expires_at": START + 11,
            "sessions": [
                {
                    "session_id": "a",
                    "product_id": None,
                    "conversation_id": "k1",
                    "last_seen_at": START + 1,
                    "action_count": 2,
                    "context": "Recent activity:\n1. [0] click: 0 — /\n2. [0] click: 1 — /",
                }
            ],
        }
    }
    assert partition.publish() == {}


def test_a_record_is_what_readers_expect() -> None:
    partition = Partition()
    partition.send(0, product="acme")
    ((_, value),) = partition.stage.publish_visitors(START)
    assert VisitorContext.model_validate_json(value or b"").sessions[0].product_id == "acme"


def test_only_who_changed_is_published() -> None:
    partition = Partition()
    partition.send(0)
    partition.publish()
    partition.send(1, "b")
    assert list(partition.publish()) == ["b"]


def test_it_holds_no_address() -> None:
    partition = Partition()
    partition.send(0, email="x@example.com")
    ((_, value),) = partition.stage.publish_visitors(START)
    assert b"example.com" not in (value or b"")


def test_once_linked_it_names_the_user_and_tells_nothing() -> None:
    partition = Partition()
    partition.send(0)
    partition.publish()
    partition.send(1, user="alice")
    record = partition.publish()["a"]
    assert record is not None
    assert (record["linked_user_id"], record["sessions"], record["updated_at"]) == ("alice", [], START + 1)


def test_a_session_that_names_its_user_at_once_has_a_record_too() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] == "alice"


def test_what_a_linked_session_does_is_no_change() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    partition.publish()
    partition.send(1)
    partition.send(2, user="alice")
    assert not partition.visitors.has_changes
    assert partition.publish() == {}


def test_another_user_is_named() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    partition.publish()
    partition.send(1, user="bob")
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] == "bob"


def test_the_window_reaches_back_from_the_newest_event_of_the_record() -> None:
    partition = Partition(LinkPolicy(retention_s=20, max_actions_per_session=200))
    for at in (0, 5, 10.5):
        partition.send(at)
    assert told(partition.publish()["a"]) == {None: [1, 2]}


def test_lines_stand_in_the_order_of_event_time() -> None:
    partition = Partition()
    partition.send(5)
    partition.send(6, event=4)
    assert told(partition.publish()["a"]) == {None: [1, 0]}


def test_what_is_dropped_for_the_bounds_leaves_the_record() -> None:
    partition = Partition()
    for at in range(3):
        partition.send(at, actions=2)
    assert told(partition.publish()["a"]) == {None: [1, 1, 2, 2]}


def test_a_session_that_is_dropped_for_the_bounds_has_a_null_record() -> None:
    partition = Partition()
    partition.send(0)
    partition.publish()
    partition.send(1, "b")
    partition.send(2, "c")
    published = partition.publish()
    assert published["a"] is None
    assert told(published["b"]) == {None: [1]}
    assert told(published["c"]) == {None: [2]}


def test_a_session_that_is_dropped_by_its_own_payload_is_forgotten() -> None:
    partition = Partition(LinkPolicy(retention_s=20, max_held_sessions=1))
    partition.send(0)
    partition.send(1, "b")
    partition.send(2, "b")
    assert {session: record is None for session, record in partition.publish().items()} == {"a": True, "b": False}
    partition.send(40, "c")
    assert partition.publish()["b"] is None
    partition.send(80, "d")
    partition.publish()
    assert list(partition.visitors._visitors) == ["d"]


def test_a_session_that_let_go_of_what_it_held_is_forgotten_later_without_a_word() -> None:
    """It was linked before, so the stage remembers it for longer."""
    partition = Partition(LinkPolicy(retention_s=20, link_retention_s=5, max_held_sessions=2))
    partition.send(0, user="alice")
    partition.send(6)
    partition.send(7, "b")
    partition.send(8, "c")
    assert partition.publish()["a"] is None
    assert partition.stage.session_count == 3
    partition.send(40, "d")
    assert partition.publish().keys() == {"b", "c", "d"}
    assert partition.stage.session_count == 1


def test_a_record_has_a_size() -> None:
    partition = Partition(LinkPolicy(retention_s=20), render=RenderPolicy(lookback_s=10, max_record_bytes=420))
    for at in range(9):
        partition.send(at)
    ((_, value),) = partition.stage.publish_visitors(START)
    assert value is not None
    assert len(value) <= 420
    assert told(orjson.loads(value))[None][-1] == 8
    assert partition.stage.counts["records_truncated"] == 1


def test_an_id_that_takes_all_the_room_has_no_record() -> None:
    partition = Partition(render=RenderPolicy(lookback_s=10, max_record_bytes=300))
    partition.send(0, "s" * 400)
    partition.send(0, "t" * 400, user="alice")
    assert partition.publish() == {"s" * 400: None, "t" * 400: None}
    assert partition.stage.counts["visitors_too_large"] == 2


# --- one session id, several products ---------------------------------------------------------------------------------


def test_products_that_share_a_session_id_have_an_entry_each() -> None:
    partition = Partition()
    partition.send(0, product="acme")
    partition.send(1)
    assert told(partition.publish()["a"]) == {None: [1], "acme": [0]}


def test_where_one_product_is_linked_the_other_one_is_told_of() -> None:
    partition = Partition()
    partition.send(0, product="acme")
    partition.send(1, product="beta")
    partition.publish()
    partition.send(2, user="alice", product="acme")
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] == "alice"
    assert told(record) == {"beta": [1]}
    partition.send(3, user="alice", product="beta")
    record = partition.publish()["a"]
    assert record is not None
    assert (record["linked_user_id"], record["sessions"]) == ("alice", [])


def test_of_two_users_nobody_is_named() -> None:
    partition = Partition(LinkPolicy(retention_s=20, link_retention_s=10))
    partition.send(0, user="alice", product="acme")
    partition.publish()
    partition.send(1, user="bob", product="beta")
    assert partition.publish() == {"a": None}
    partition.send(2, user="alice", product="acme")
    assert partition.publish() == {}
    partition.send(3, product="gamma")
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] is None
    assert told(record) == {"gamma": [3]}
    partition.send(11.5, "z")
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] == "alice", "bob's link has lapsed"


def test_an_entry_that_expires_leaves_the_link() -> None:
    partition = Partition()
    partition.send(0, product="beta")
    partition.send(1, user="alice", product="acme")
    partition.publish()
    partition.send(10.5, "z")
    record = partition.publish()["a"]
    assert record is not None
    assert (record["linked_user_id"], record["sessions"]) == ("alice", [])


# --- the end ----------------------------------------------------------------------------------------------------------


def test_a_visitor_expires_by_the_stream_time_of_the_partition() -> None:
    partition = Partition()
    partition.send(0)
    partition.publish()
    partition.send(10, "z")
    assert list(partition.publish()) == ["z"]
    partition.send(10.5, "z")
    assert partition.publish()["a"] is None


def test_a_link_stands_until_its_session_is_forgotten() -> None:
    partition = Partition()
    partition.send(0, user="alice")
    partition.publish()
    partition.send(15)
    partition.send(35, "z")
    assert list(partition.publish()) == ["z"]
    partition.send(35.5, "z")
    assert partition.publish()["a"] is None


def test_a_session_whose_link_lapses_is_a_visitor_again() -> None:
    partition = Partition()
    for at in (0, 15, 30, 40):
        partition.send(at, user="alice" if at == 0 else "")
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] == "alice"
    partition.send(40.5)
    record = partition.publish()["a"]
    assert record is not None
    assert record["linked_user_id"] is None
    assert told(record) == {None: [4]}


def test_a_link_that_lapses_in_silence_is_cleared() -> None:
    partition = Partition(LinkPolicy(retention_s=20, link_retention_s=5))
    partition.send(0, user="alice")
    partition.publish()
    partition.send(5.5, "z")
    assert partition.publish()["a"] is None


def test_an_old_payload_that_leaves_the_stages_memory_leaves_the_record() -> None:
    """Its clock was ahead, so its event would be in the window for longer."""
    partition = Partition()
    partition.send(0, event=9)
    partition.send(11, event=15)
    assert told(partition.publish()["a"]) == {None: [0, 1]}
    partition.send(20.5, "z")
    assert told(partition.publish()["a"]) == {None: [1]}


def test_on_a_silent_partition_the_wall_clock_ends_it_and_the_next_payload_begins_it_again() -> None:
    partition = Partition(idle_after_s=2)
    partition.send(0)
    partition.send(0, "b", user="alice")
    partition.visitors.idle_clock.hear(START)
    partition.visitors.idle_clock.see_end(2)
    assert list(partition.publish(10)) == ["a", "b"]
    assert partition.publish(11) == {"a": None}
    assert partition.publish(21) == {"b": None}
    partition.send(3)
    partition.send(3, "b")
    partition.visitors.idle_clock.hear(START + 22)
    record = partition.publish(23)
    assert told(record["a"]) == {None: [0, 2]}
    assert (record["b"] or {})["linked_user_id"] == "alice"


def test_the_wall_clock_does_not_count_before_the_end_is_read() -> None:
    partition = Partition(idle_after_s=2)
    partition.send(0)
    partition.visitors.idle_clock.see_end(2)
    assert partition.publish(100)["a"] is not None
    partition.visitors.idle_clock.stay_awake(START + 100)
    partition.send(0)
    assert partition.publish(101)["a"] is not None
    assert partition.publish(102) == {"a": None}


def test_nothing_is_kept_of_sessions_that_are_over() -> None:
    partition = Partition()
    for number in range(50):
        partition.send(30 * number, f"s{number}", user="alice" if number % 2 else "")
        partition.publish()
    assert list(partition.visitors._visitors) == ["s49"]
    assert len(partition.visitors._queue) == 1


def test_sessions_that_are_dropped_for_the_bounds_leave_nothing_that_waits_for_their_time() -> None:
    partition = Partition()
    for number in range(1000):
        partition.send(number / 1000, f"s{number}")
        partition.publish()
    assert len(partition.visitors._queue) <= 100
    partition.send(13, "t", user="alice")
    records = partition.publish()
    assert (records.pop("t") is None, records) == (False, {"s998": None, "s999": None})


# --- restoring --------------------------------------------------------------------------------------------------------


def test_what_was_restored_is_published_when_the_end_is_reached() -> None:
    partition = Partition(committed=2, end=3)
    partition.send(0)
    assert partition.publish() == {}
    partition.send(1, "b", user="alice")
    assert partition.publish() == {}
    partition.send(2, "z")
    published = partition.publish()
    assert set(published) == {"a", "b", "z"}
    assert told(published["a"]) == {None: [0]}
    assert (published["b"] or {})["linked_user_id"] == "alice"


def test_what_is_forgotten_while_restoring_is_cleared() -> None:
    partition = Partition(committed=3, end=9)
    partition.send(0)
    partition.send(1, "b", user="alice")
    partition.send(50, "z")
    assert partition.publish() == {"a": None, "b": None}


def test_what_was_restored_and_is_forgotten_before_the_end_is_cleared_there_and_then() -> None:
    partition = Partition(committed=1, end=9)
    partition.send(0)
    assert partition.publish() == {}
    partition.send(20.5, "z")
    assert partition.publish()["a"] is None


def test_what_changes_before_the_end_is_published_then() -> None:
    partition = Partition(committed=1, end=3)
    partition.send(0)
    partition.send(1)
    assert told(partition.publish()["a"]) == {None: [0, 1]}
    partition.send(2, "z")
    assert list(partition.publish()) == ["z"]


def test_what_was_restored_and_cleared_before_the_end_can_be_forgotten_before_the_end() -> None:
    partition = Partition(committed=1, end=6)
    partition.send(0)
    partition.send(11, event=-5)
    partition.send(10.5, event=0)
    partition.send(20, "z")
    partition.publish()
    partition.send(25, "z")
    partition.publish()
    partition.send(45, "z")
    assert "a" not in partition.publish()
    assert list(partition.visitors._visitors) == ["z"]


def test_a_record_that_did_not_get_out_is_made_again() -> None:
    partition = Partition()
    partition.send(0)
    partition.publish()
    assert not partition.visitors.change_again("b")
    assert partition.visitors.change_again("a")
    assert told(partition.publish()["a"]) == {None: [0]}
