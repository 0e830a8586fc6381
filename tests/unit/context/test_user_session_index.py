"""Which recent sessions belong to a user, and what they say together."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import FrozenInstanceError

import pytest

from tests.payloads import NOW, ManualClock, activity, payload
from worker import AsyncContextStore, ContextStore, SessionRef, UserSessionIndex


class Echo:
    """A store that is not ours."""

    def get(self, session_id: str, *, product_id: str | None = None) -> str:
        return "" if session_id == "silent" else f"{session_id} of {product_id}"


def index(
    clock: ManualClock | None = None, *, lookback_seconds: float = 300.0, max_sessions_per_user: int = 20
) -> UserSessionIndex:
    return UserSessionIndex(Echo(), lookback_seconds, max_sessions_per_user, clock=clock or ManualClock())


def sessions(known: UserSessionIndex, user: str = "user_456") -> list[str]:
    return [ref.session_id for ref in known.get_recent_sessions(user)]


def test_sessions_are_newest_first_with_the_time_they_were_last_seen() -> None:
    known = index()
    known.add(payload(session="ps_1", at=NOW - 20))
    known.add(payload(session="ps_2", product="", at=NOW - 10))
    known.add(payload(session="ps_1", at=NOW - 5))
    assert known.get_recent_sessions("user_456") == [
        SessionRef("ps_1", "acme", NOW - 5),
        SessionRef("ps_2", None, NOW - 10),
    ]


def test_a_reference_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        SessionRef("ps_1", None, NOW).session_id = "ps_2"  # type: ignore[misc]


def test_sessions_seen_at_the_same_time_are_in_the_order_of_their_ids() -> None:
    known = index(max_sessions_per_user=3)
    for number in (4, 2, 0, 3, 1):
        known.add(payload(session=f"ps_{number}"))
    assert sessions(known) == ["ps_0", "ps_1", "ps_2"]


def test_the_same_session_id_in_two_products_is_two_sessions() -> None:
    known = index()
    known.add(payload(product="acme"))
    known.add(payload(product="other"))
    assert [ref.product_id for ref in known.get_recent_sessions("user_456")] == ["acme", "other"]


def test_users_see_their_own_sessions_only() -> None:
    known = index()
    known.add(payload(session="ps_1", user="alice"))
    known.add(payload(session="ps_2", user="bob"))
    assert (sessions(known, "alice"), sessions(known, "bob")) == (["ps_1"], ["ps_2"])


def test_a_late_payload_does_not_move_last_seen_at_back() -> None:
    known = index()
    known.add(payload(at=NOW - 5))
    known.add(payload(at=NOW - 100))
    assert known.get_recent_sessions("user_456") == [SessionRef("ps_1", "acme", NOW - 5)]


def test_sessions_leave_when_they_were_not_seen_for_the_lookback() -> None:
    clock = ManualClock()
    known = index(clock)
    known.add(payload(session="ps_1"))
    clock.advance(200)
    known.add(payload(session="ps_2", at=clock.now))
    clock.advance(100)
    assert sessions(known) == ["ps_2", "ps_1"]
    clock.advance(1)
    assert sessions(known) == ["ps_2"]
    clock.advance(200)
    assert sessions(known) == []


def test_a_payload_older_than_the_lookback_changes_nothing() -> None:
    known = index()
    known.add(payload(email="alice@example.com", at=NOW - 301))
    assert sessions(known) == []
    assert known.get_email("user_456") is None


@pytest.mark.parametrize("at", [0.0, -1.0, NOW + 1, NOW * 1000, float("nan")])
def test_a_payload_without_a_usable_time_counts_at_its_arrival(at: float) -> None:
    known = index()
    known.add(payload(at=at))
    assert known.get_recent_sessions("user_456") == [SessionRef("ps_1", "acme", NOW)]


@pytest.mark.parametrize(("user", "session"), [(None, "ps_1"), ("", "ps_1"), (" ", "ps_1"), ("user_456", None)])
def test_a_payload_without_a_user_or_a_session_changes_nothing(user: str | None, session: str | None) -> None:
    known = index()
    known.add(payload(user=user, session=session))
    assert len(known._users) == 0


def test_ids_are_stripped_where_they_come_in_and_where_they_are_asked_for() -> None:
    known = index()
    known.add(payload(user=" user_456", session="ps_1 ", product=" acme ", email=" alice@example.com "))
    assert known.get_recent_sessions(" user_456 ") == [SessionRef("ps_1", "acme", NOW)]
    assert known.get_email("user_456 ") == "alice@example.com"
    known.reset_user(" user_456")
    assert sessions(known) == []


def test_no_more_sessions_are_listed_than_asked_for_and_the_newest_stay() -> None:
    known = index(max_sessions_per_user=2)
    for number in range(5):
        known.add(payload(session=f"ps_{number}", at=NOW - 10 + number))
    assert sessions(known) == ["ps_4", "ps_3"]


# --- email ------------------------------------------------------------------------------------------------------------


def test_the_newest_email_counts() -> None:
    known = index()
    known.add(payload(email="new@example.com", at=NOW - 5))
    known.add(payload(email="old@example.com", at=NOW - 10))
    known.add(payload(at=NOW))
    assert known.get_email("user_456") == "new@example.com"


def test_a_user_without_an_email_has_none() -> None:
    known = index()
    known.add(payload())
    assert known.get_email("user_456") is None
    assert known.get_email("nobody") is None


def test_an_email_goes_with_its_user() -> None:
    clock = ManualClock()
    known = index(clock)
    known.add(payload(email="alice@example.com"))
    clock.advance(300)
    assert known.get_email("user_456") == "alice@example.com"
    clock.advance(1)
    assert known.get_email("user_456") is None


# --- activity ---------------------------------------------------------------------------------------------------------


def test_the_activity_joins_what_the_store_says_of_each_session() -> None:
    known = index()
    known.add(payload(session="ps_1", at=NOW - 20))
    known.add(payload(session="ps_2", product="", at=NOW - 10))
    known.add(payload(session="silent"))
    assert known.get_user_activity("user_456") == (
        "Session ps_2 (no-product-id):\nps_2 of None\n\nSession ps_1 (acme):\nps_1 of acme"
    )
    assert known.get_user_activity("user_456", "acme") == "Session ps_1 (acme):\nps_1 of acme"
    assert known.get_user_activity("user_456", product_id="other") == ""
    assert known.get_user_activity("nobody") == ""


def test_the_activity_comes_from_our_own_stores_too() -> None:
    clock = ManualClock()
    store = ContextStore(clock=clock)
    known = UserSessionIndex(store, clock=clock)
    for made in (payload("a", session="ps_1", at=NOW - 10), payload("b", session="ps_2")):
        store.add(made)
        known.add(made)
    assert known.get_user_activity("user_456") == (
        f"Session ps_2 (acme):\n{activity('b')}\n\nSession ps_1 (acme):\n{activity('a')}"
    )


def test_adding_works_as_a_callback_for_asyncio() -> None:
    async def talk() -> None:
        store = AsyncContextStore(clock=ManualClock())
        known = UserSessionIndex(store, clock=ManualClock())
        await store.add(payload("a"))
        await known.add_async(payload("a"))
        assert known.get_user_activity("user_456") == f"Session ps_1 (acme):\n{activity('a')}"

    asyncio.run(talk())


def test_the_default_clock_is_the_walls() -> None:
    known = UserSessionIndex(Echo())
    known.add(payload(session="an hour in 2024"))
    known.add(payload(session="now", at=0))
    assert sessions(known) == ["now"]


# --- memory -----------------------------------------------------------------------------------------------------------


def test_reset_forgets_sessions_and_email() -> None:
    known = index()
    known.add(payload(email="alice@example.com"))
    known.add(payload(user="bob"))
    known.reset_user("user_456")
    known.reset_user("nobody")
    assert (sessions(known), known.get_email("user_456")) == ([], None)
    assert sessions(known, "bob") == ["ps_1"]


def test_reading_an_unknown_user_stores_nothing() -> None:
    known = index()
    known.get_recent_sessions("nobody")
    known.get_email("nobody")
    known.get_user_activity("nobody")
    assert len(known._users) == 0


def test_expired_users_go_while_others_are_added() -> None:
    clock = ManualClock()
    known = index(clock)
    for number in range(1000):
        clock.advance(10)
        known.add(payload(user=f"user_{number}", email=f"{number}@example.com", at=clock.now))
        assert len(known._users) <= 31


def test_a_user_whose_payloads_come_late_goes_in_time_too() -> None:
    clock = ManualClock()
    known = index(clock)
    known.add(payload(user="alice"))
    known.add(payload(user="late", at=NOW - 299))
    known.add(payload(user="bob"))
    clock.advance(301)
    known.add(payload(user="carol", at=clock.now))
    assert list(known._users) == ["carol"]


def test_the_sessions_of_one_user_are_bounded() -> None:
    known = index(max_sessions_per_user=2)
    for number in range(1000):
        known.add(payload(session=f"ps_{number}"))
    assert len(known._users["user_456"].sessions) == 20


@pytest.mark.parametrize(
    ("lookback_seconds", "max_sessions_per_user", "name"),
    [
        (0, 20, "lookback_seconds"),
        (-1, 20, "lookback_seconds"),
        (float("nan"), 20, "lookback_seconds"),
        (300, 0, "max_sessions"),
    ],
)
def test_a_limit_out_of_range_is_refused(lookback_seconds: float, max_sessions_per_user: int, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        index(lookback_seconds=lookback_seconds, max_sessions_per_user=max_sessions_per_user)


def test_threads_may_add_read_and_reset_at_once() -> None:
    clock = ManualClock()
    store = ContextStore(lookback_seconds=300, clock=clock)
    known = UserSessionIndex(store, max_sessions_per_user=2, clock=clock)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(200):
                user = f"user_{(turn + number) % 5}"
                made = payload("a", session=f"ps_{turn % 50}", user=user, email="a@example.com", at=clock.now)
                store.add(made)
                known.add(made)
                known.get_user_activity(user)
                known.get_email(user)
                known.reset_user(f"user_{turn % 5}")
                clock.advance(5)
        except BaseException as failure:  # noqa: BLE001 — whatever it is, the test is to say it
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
