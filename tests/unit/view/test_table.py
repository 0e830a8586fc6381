"""What the view holds of each user after records that came in any order, and what it answers."""

from __future__ import annotations

import pytest

from schemas import UserContext
from tests.payloads import NOW, activity
from tests.user_records import LOOKBACK_S, record, session
from worker.view.table import ContextTable


@pytest.fixture
def table() -> ContextTable:
    return ContextTable()


def version(table: ContextTable, user: str = "u", now: float = NOW) -> int | None:
    found = table.get(user, None, now)
    return None if found is None else found.version


def test_the_higher_version_stays_and_the_later_of_two_equal_ones(table: ContextTable) -> None:
    assert table.apply(0, b"u", record("u", 5, session("a"))) == "u"
    assert table.apply(0, b"u", record("u", 4)) is None
    assert version(table) == 5
    assert table.apply(0, b"u", record("u", 5, session("b"))) == "u"
    found = table.get("u", None, NOW)
    assert found is not None
    assert [one.session_id for one in found.sessions] == ["b"]
    assert (table.counts.records, table.counts.superseded) == (3, 1)


def test_a_null_record_clears_the_user_and_the_count_begins_anew(table: ContextTable) -> None:
    table.apply(0, b"u", record("u", 5))
    assert table.apply(0, b"u", None) == "u"
    assert table.apply(0, b"u", None) is None  # nobody knew anything any more
    assert (version(table), len(table), table.value_bytes) == (None, 0, 0)
    table.apply(0, b"u", record("u", 1))
    assert version(table) == 1


@pytest.mark.parametrize("value", [b"", b"nope", b"{}", record("somebody else", 9)])
def test_what_cannot_be_read_is_counted_and_nothing_stale_is_served(table: ContextTable, value: bytes) -> None:
    table.apply(0, b"u", record("u", 5))
    assert table.apply(0, b"u", value) == "u"
    assert (version(table), version(table, "somebody else"), table.counts.undecodable) == (None, None, 1)


@pytest.mark.parametrize("key", [None, b"", b"\xff"])
def test_a_key_that_is_nobody_is_counted(table: ContextTable, key: bytes | None) -> None:
    assert table.apply(0, key, record("u", 5)) is None
    assert (table.counts.unkeyed, len(table)) == (1, 0)


def test_a_newer_schema_is_counted_and_read(table: ContextTable) -> None:
    table.apply(0, b"u", record("u", 5).replace(b'"schema_version":1', b'"schema_version":2,"mood":"fine"'))
    assert (version(table), table.counts.newer_schema) == (5, 1)


def test_expired_sessions_and_users_are_not_there(table: ContextTable) -> None:
    sessions = session("new", "a"), session("old", "b", at=NOW - 200)
    table.apply(0, b"u", record("u", 1, *sessions))

    def ids(now: float) -> list[str] | None:
        found = table.get("u", None, now)
        return None if found is None else [one.session_id for one in found.sessions]

    assert ids(NOW + 100) == ["new", "old"]
    assert ids(NOW + 100.5) == ["new"]
    assert ids(NOW + LOOKBACK_S) == ["new"]
    assert ids(NOW + LOOKBACK_S + 0.5) is None


def test_a_product_is_told_of_itself_alone(table: ContextTable) -> None:
    table.apply(
        0, b"u", record("u", 1, session("s", "a"), session("s", "b", product="other"), session("t", product=None))
    )
    found = table.get("u", "other", NOW)
    assert found is not None
    assert found.get_user_activity() == f"Session s (other):\n{activity('b')}"
    assert table.get("u", "third", NOW) is None


def test_the_answer_is_the_model(table: ContextTable) -> None:
    value = record("u", 1, session("s", "a", conversation="c"), email="a@example.com")
    table.apply(0, b"u", value)
    assert table.get("u", None, NOW) == UserContext.model_validate_json(value)


# --- conversations ---


def user_in(table: ContextTable, conversation: str, product: str | None = None, now: float = NOW) -> str | None:
    found = table.by_conversation(conversation, product, now)
    return None if found is None else found.user_id


def test_a_conversation_leads_to_its_user_as_long_as_they_are_in_it(table: ContextTable) -> None:
    table.apply(0, b"u", record("u", 1, session("s", conversation="c")))
    assert (user_in(table, "c"), user_in(table, "d")) == ("u", None)
    assert (user_in(table, "c", "acme"), user_in(table, "c", "other")) == ("u", None)
    table.apply(0, b"u", record("u", 2, session("s", conversation="d")))
    assert (user_in(table, "c"), user_in(table, "d")) == (None, "u")
    assert user_in(table, "d", now=NOW + LOOKBACK_S + 1) is None
    table.apply(0, b"u", None)
    assert (user_in(table, "d"), list(table._conversations)) == (None, [])


def test_a_conversation_of_several_users_is_no_ones(table: ContextTable) -> None:
    table.apply(0, b"u", record("u", 1, session("s", conversation="c")))
    table.apply(0, b"v", record("v", 1, session("s", conversation="c"), at=NOW + 200))
    assert user_in(table, "c") is None
    assert user_in(table, "c", now=NOW + LOOKBACK_S + 1) is None  # the session of v was seen at NOW, too
    table.apply(0, b"u", None)
    assert user_in(table, "c") == "v"


def test_only_live_sessions_hold_a_conversation(table: ContextTable) -> None:
    both = session("s", conversation="new"), session("t", conversation="old", at=NOW - 200)
    table.apply(0, b"u", record("u", 1, *both))
    assert user_in(table, "old", now=NOW + 150) is None
    assert user_in(table, "new", now=NOW + 150) == "u"


# --- reading a partition again ---


def test_what_is_known_is_served_until_the_partition_is_read_again(table: ContextTable) -> None:
    table.apply(0, b"u", record("u", 9))
    table.apply(0, b"gone", record("gone", 9))
    table.apply(1, b"elsewhere", record("elsewhere", 9))
    table.begin_anew(0)
    table.apply(0, b"new", record("new", 1))
    table.apply(0, b"new", None)
    table.apply(0, b"u", record("u", 1))
    table.apply(0, b"u", record("u", 2))  # another topic by now: its versions begin anew
    table.apply(0, b"u", record("u", 1))
    assert (version(table), version(table, "gone"), version(table, "new")) == (9, 9, None)
    assert table.finish(0) == ["gone", "u"]
    assert (version(table), version(table, "gone"), version(table, "elsewhere")) == (2, None, 9)
    assert table.finish(0) == []
    assert table.finish(1) == []


def test_reading_again_what_is_the_same_changes_nobody(table: ContextTable) -> None:
    table.apply(0, b"u", record("u", 1))
    table.apply(0, b"u", record("u", 2))
    table.begin_anew(0)
    for number in (1, 2):
        table.apply(0, b"u", record("u", number))
        assert version(table) == 2  # never back
    assert table.finish(0) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_who_is_on_another_partition_by_now_is_found_there(table: ContextTable, order: tuple[int, int]) -> None:
    table.apply(0, b"u", record("u", 5))
    for partition in order:
        table.begin_anew(partition)
    table.apply(1, b"u", record("u", 5))
    for partition in order:
        table.finish(partition)
    assert version(table) == 5
    assert len(table) == 1


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_topic_made_anew_may_have_its_users_elsewhere(table: ContextTable, order: tuple[int, int]) -> None:
    table.apply(0, b"u", record("u", 9000))
    for partition in order:
        table.begin_anew(partition)
    table.apply(1, b"u", record("u", 1))
    for partition in order:
        table.finish(partition)
    assert version(table) == 1


def test_who_has_moved_to_another_partition_stays_there(table: ContextTable) -> None:
    table.apply(1, b"u", record("u", 5))
    table.begin_anew(0)
    table.apply(0, b"u", record("u", 4))
    assert table.finish(0) == []
    assert version(table) == 5


def test_whoever_was_on_a_partition_that_is_gone_goes(table: ContextTable) -> None:
    for partition in range(3):
        table.apply(partition, str(partition).encode(), record(str(partition), 1))
    assert table.drop_beyond(1) == ["1", "2"]
    assert len(table) == 1
    assert table.value_bytes == len(record("0", 1))
