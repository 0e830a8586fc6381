"""What the view says of a session: of a visitor's, or of a user's, in whatever order their two records come."""

from __future__ import annotations

import pytest

from schemas.user_context import KnownSession
from tests.payloads import NOW, activity
from tests.user_records import LOOKBACK_S, record, session, visitor
from worker.view.record_table import MOST_KEYS, Index
from worker.view.table import ContextTable
from worker.view.visitor_table import VisitorTable, session_as_of, session_in_conversation


class Tables:
    """Both, as the view has them."""

    def __init__(self) -> None:
        self.visitors = VisitorTable()
        self.users = ContextTable(finds_sessions=True)

    def write_session(self, session_id: str, value: bytes | None) -> None:
        self.visitors.apply(0, session_id.encode(), value)

    def write(self, user_id: str, value: bytes | None) -> None:
        self.users.apply(0, user_id.encode(), value)

    def get(self, product: str | None = None, *, session_id: str = "s", now: float = NOW) -> KnownSession | None:
        return session_as_of(self.visitors, self.users, session_id, product, now)

    def told(self, product: str | None = None, *, now: float = NOW) -> tuple[str | None, str] | None:
        """Whose the session `s` is, and its text."""
        found = self.get(product, now=now)
        return None if found is None else (found.user_id, found.context)

    def in_conversation(self, conversation_id: str) -> str | None:
        found = session_in_conversation(self.visitors, self.users, conversation_id, None, NOW)
        return None if found is None else found.session_id


@pytest.fixture
def tables() -> Tables:
    return Tables()


def test_a_visitors_session_is_nobodys(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a", conversation="c")))
    known = session("s", "a", conversation="c")
    assert tables.get() == tables.get("acme") == KnownSession(**known.model_dump(), user_id=None)
    assert tables.get("other") is None
    assert tables.get(session_id="t") is None


def test_once_it_is_linked_the_users_record_tells(tables: Tables) -> None:
    tables.write_session("s", visitor("s", linked="alice"))
    tables.write("alice", record("alice", 1, session("s", "a", "b"), session("t", "other")))
    assert tables.told() == ("alice", activity("a", "b"))


def test_the_link_comes_first_then_nothing_is_known_until_the_users_record_has_come(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a")))
    tables.write_session("s", visitor("s", linked="alice"))
    assert tables.told() is None
    tables.write("alice", record("alice", 1, session("t", "other")))
    assert tables.told() is None
    tables.write("alice", record("alice", 2, session("s", "a", "b"), session("t", "other")))
    assert tables.told() == ("alice", activity("a", "b"))


def test_the_users_record_comes_first_then_nothing_is_known_until_the_link_has_come(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a", at=NOW - 1)))
    tables.write("alice", record("alice", 1, session("s", "a", "b")))
    assert tables.told() is None
    tables.write_session("s", visitor("s", linked="alice"))
    assert tables.told() == ("alice", activity("a", "b"))


def test_without_a_record_of_the_session_nothing_is_known_of_it(tables: Tables) -> None:
    tables.write("alice", record("alice", 1, session("s", "a")))
    assert tables.told() is None


def test_a_session_whose_link_lapsed_is_a_visitors_again_and_what_its_user_did_is_not_told(tables: Tables) -> None:
    tables.write("alice", record("alice", 1, session("s", "hers", at=NOW - 9)))
    tables.write_session("s", visitor("s", session("s", "a")))
    assert tables.told() == (None, activity("a"))


def test_after_a_switch_nobody_is_shown_what_the_one_before_did(tables: Tables) -> None:
    """Whichever record of the new user's comes first."""
    tables.write_session("s", visitor("s", linked="alice"))
    tables.write("alice", record("alice", 1, session("s", "hers", at=NOW - 9)))
    tables.write("bob", record("bob", 2, session("s", "his")))
    assert tables.told() is None
    tables.write_session("s", visitor("s", linked="bob"))
    assert tables.told() == ("bob", activity("his"))
    tables.write("bob", None)
    assert tables.told() is None


def test_products_that_share_a_session_id_do_not_mix(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a"), session("s", "b", product="beta")))
    assert tables.told("acme") == (None, activity("a"))
    assert tables.told("beta") == (None, activity("b"))
    assert tables.told() is None


def test_where_one_product_is_linked_the_other_one_is_a_visitors(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "b", product="beta"), linked="alice"))
    tables.write("alice", record("alice", 1, session("s", "a")))
    assert tables.told("acme") == ("alice", activity("a"))
    assert tables.told("beta") == (None, activity("b"))
    assert tables.told() is None


def test_of_two_users_only_the_one_who_is_named_is_followed(tables: Tables) -> None:
    tables.write_session("s", visitor("s", linked="bob"))
    tables.write("alice", record("alice", 1, session("s", "a")))
    tables.write("bob", record("bob", 1, session("s", "b", product="beta")))
    assert tables.told("beta") == ("bob", activity("b"))
    assert tables.told("acme") is None
    assert tables.told() is None


def test_what_is_expired_is_not_known(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a"), session("s", "b", product="beta", at=NOW - 10)))
    late = NOW + LOOKBACK_S - 5
    assert tables.told(now=late) == (None, activity("a"))
    assert tables.told("beta", now=late) is None
    assert tables.told(now=NOW + LOOKBACK_S + 1) is None


def test_a_link_does_not_expire_with_its_times(tables: Tables) -> None:
    tables.write_session("s", visitor("s", linked="alice", at=NOW - 10 * LOOKBACK_S))
    tables.write("alice", record("alice", 1, session("s", "a")))
    assert tables.told() == ("alice", activity("a"))


def test_the_later_record_of_a_session_counts(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a")))
    tables.write_session("s", visitor("s", session("s", "b", at=NOW - 1), at=NOW - 1))
    assert tables.told() == (None, activity("b"))
    assert tables.visitors.counts.superseded == 0


def test_a_null_record_and_one_that_cannot_be_read_clear_the_session(tables: Tables) -> None:
    for value in (None, b"{", visitor("t", session("t", "a")), record("s")):
        tables.write_session("s", visitor("s", session("s", "a", conversation="c")))
        tables.write_session("s", value)
        assert (tables.told(), tables.in_conversation("c"), len(tables.visitors)) == (None, None, 0)
    assert (tables.visitors.counts.tombstones, tables.visitors.counts.undecodable) == (1, 3)
    assert tables.visitors.value_bytes == 0


def test_a_newer_schema_is_read_as_far_as_it_is_known(tables: Tables) -> None:
    newer = visitor("s", session("s", "a")).replace(b'"schema_version":1', b'"schema_version":2,"news":[1]')
    tables.write_session("s", newer)
    assert tables.told() == (None, activity("a"))
    assert tables.visitors.counts.newer_schema == 1


def test_a_conversation_leads_to_its_session_before_and_after_the_login(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a", conversation="c")))
    assert tables.in_conversation("c") == "s"
    tables.write_session("s", visitor("s", linked="alice"))
    tables.write("alice", record("alice", 1, session("s", "a", conversation="c"), session("t", "b")))
    assert tables.in_conversation("c") == "s"
    assert tables.in_conversation("") is None
    tables.write_session("t", visitor("t", session("t", "x", conversation="c")))
    assert tables.in_conversation("c") is None, "it is not clear whose the other one is"
    tables.write_session("t", visitor("t", linked="alice"))
    assert tables.in_conversation("c") == "s", "her record says that the other one is not in it"
    tables.write_session("u", visitor("u", session("u", "x", conversation="c")))
    assert tables.in_conversation("c") is None


def test_a_conversation_says_which_of_the_products_that_share_a_session_id_is_meant(tables: Tables) -> None:
    tables.write_session("s", visitor("s", session("s", "a", conversation="c"), session("s", "b", product="beta")))
    for product in (None, "acme"):
        assert session_in_conversation(tables.visitors, tables.users, "c", product, NOW) == tables.get("acme")
    assert session_in_conversation(tables.visitors, tables.users, "c", "beta", NOW) is None
    tables.write("alice", record("alice", 1, session("s", "b", product="beta", conversation="c")))
    tables.write_session("s", visitor("s", session("s", "a", conversation="c"), linked="alice"))
    assert tables.in_conversation("c") is None, "both are in it"


def test_of_two_users_in_a_conversation_none_is_shown_while_it_is_not_clear_whose_the_other_session_is(
    tables: Tables,
) -> None:
    tables.write("alice", record("alice", 1, session("s", "hers", conversation="c")))
    tables.write_session("s", visitor("s", linked="alice"))
    assert tables.in_conversation("c") == "s"
    tables.write("bob", record("bob", 1, session("t", "his", conversation="c")))
    for value in (None, visitor("t", session("t", "before", at=NOW - 1)), visitor("t", linked="bob")):
        tables.write_session("t", value)
        assert tables.in_conversation("c") is None
    tables.write("bob", record("bob", 2, session("t", "his")))
    assert tables.in_conversation("c") == "s"


def test_an_id_that_very_many_have_is_nobodys(tables: Tables) -> None:
    """Else each read of a placeholder that a client sends for all its users would decode all their records."""
    tables.write_session("s", visitor("s", linked="user_0"))
    for number in range(MOST_KEYS):
        at = NOW - number / 1000
        tables.write(f"user_{number}", record(f"user_{number}", 1, session("s", "a", at=at, conversation="c"), at=at))
    assert tables.told() == ("user_0", activity("a"))
    assert tables.in_conversation("c") == "s"
    tables.write("one_more", record("one_more", 1, session("s", "a", at=NOW - 1, conversation="c"), at=NOW - 1))
    assert (tables.told(), tables.in_conversation("c"), tables.users.by_conversation("c", None, NOW)) == (None,) * 3
    tables.write("one_more", None)
    assert tables.told() == ("user_0", activity("a"))
    for number in range(MOST_KEYS + 1):
        tables.write_session(f"v_{number}", visitor(f"v_{number}", session(f"v_{number}", "a", conversation="d")))
    assert tables.in_conversation("d") is None


def test_an_index_finds_keys_in_their_order_also_after_they_were_too_many() -> None:
    index = Index()
    keys = [str(number) for number in range(MOST_KEYS + 2)]
    for key in keys:
        index.move(key, (), ("s",))
        index.move(key, ("s",), ("s",))
    assert index.of("s") is None
    index.move("1", ("s",), ("t",))
    assert index.of("s") is None
    index.move("3", ("s",), ())
    assert index.of("s") == tuple(key for key in keys if key not in {"1", "3"})
    assert (index.of("t"), list(index), len(index)) == (("1",), ["s", "t"], 2)
    for key in keys:
        index.move(key, () if key == "3" else ("t",) if key == "1" else ("s",), ())
    assert len(index) == 0


def test_users_are_found_by_their_sessions_only_where_that_is_wanted() -> None:
    table = ContextTable()
    table.apply(0, b"u", record("u", 1, session("s", "a")))
    assert table.sessions("s", NOW) == []
    assert len(table._session_ids) == 0
    tables = Tables()
    tables.write("u", record("u", 1, session("s", "a")))
    tables.write("u", record("u", 2, session("t", "b")))
    assert list(tables.users._session_ids) == ["t"]
    tables.write("u", None)
    assert list(tables.users._session_ids) == []
