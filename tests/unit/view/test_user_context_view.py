"""The view as a chat service has it: reads, waiting, callbacks, the end; for threads and for asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import worker
from schemas import UserContext
from schemas.user_context import SessionRef
from tests.fakes.chat import PARTITIONS, SESSIONS, TOPIC, Chat, wait_until
from tests.fakes.view_reader import FakeViewReader
from tests.payloads import NOW, activity
from tests.user_records import LOOKBACK_S, record, session, visitor
from worker.errors import Fatal
from worker.kafka import KafkaError
from worker.partitioner import partition_of
from worker.view import AsyncUserContextView, NotInShare, NotReady, UserContextView, ViewStatus


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat()
    yield chat
    for view in chat.views:
        view.close()


# --- reads ---


@pytest.fixture
def known(chat: Chat) -> UserContextView:
    sessions = session("s1", "a", conversation="c"), session("s2", "b", product=None, at=NOW - 10)
    chat.write("u", record("u", 1, *sessions, email="u@example.com"))
    chat.write("7", record("7", 1, session("s1", "somebody else's")))
    return chat.ready()


def test_reads_are_those_of_the_sdk(known: UserContextView) -> None:
    text = f"Session s1 (acme):\n{activity('a')}\n\nSession s2 (no-product-id):\n{activity('b')}"
    assert known.get_user_activity("u") == text
    assert known.get_user_activity("u", "acme") == f"Session s1 (acme):\n{activity('a')}"
    assert known.get_email("u") == "u@example.com"
    assert known.get_recent_sessions("u") == [SessionRef("s1", "acme", NOW), SessionRef("s2", None, NOW - 10)]
    assert known.enrich("u", "How?") == f"[Session context]\n{text}\n\n[Query]\nHow?"
    found = known.get_by_conversation("c")
    assert found is not None
    assert found == known.get("u")


def test_ids_count_as_they_do_everywhere(known: UserContextView) -> None:
    number: Any = 7
    assert known.get(" u ") == known.get("u")
    assert (
        known.get_user_activity(number) == f"Session s1 (acme):\n{activity(chr(115) + 'omebody else' + chr(39) + 's')}"
    )


def test_of_nobody_nothing_is_known(known: UserContextView) -> None:
    assert known.get("nobody") is None
    assert known.get("") is None
    assert known.get_user_activity("nobody") == ""
    assert known.get_email("nobody") is None
    assert known.get_recent_sessions("nobody") == []
    assert known.get_by_conversation("") is None
    assert known.enrich("nobody", "How?") == "How?"


def test_what_is_expired_is_not_known_any_more(chat: Chat, known: UserContextView) -> None:
    chat.clock.advance(LOOKBACK_S - 5)
    assert [ref.session_id for ref in known.get_recent_sessions("u")] == ["s1"]
    chat.clock.advance(10)
    assert (known.get("u"), known.get_email("u"), known.enrich("u", "How?")) == (None, None, "How?")


def test_a_user_of_another_share_is_not_unknown_but_elsewhere(chat: Chat) -> None:
    users = [f"u{number}" for number in range(20)]
    for user in users:
        chat.write(user, record(user, 1))
    view = chat.ready(partitions={2})
    for user in users:
        if partition_of(user.encode(), PARTITIONS) == 2:
            assert view.holds(user)
            assert view.get(user) is not None
        else:
            assert not view.holds(user)
            with pytest.raises(NotInShare):
                view.get(user)
    assert chat.ready().holds("anybody")


@pytest.mark.parametrize("partitions", [set(), {-1}])
def test_a_share_names_partitions(chat: Chat, partitions: set[int]) -> None:
    with pytest.raises(ValueError, match="partitions must name"):
        chat.view(partitions=partitions)


# --- life ---


def test_waiting_ends_when_all_is_read_and_tells_why_it_takes_long(chat: Chat) -> None:
    chat.broker.is_down = True
    view = chat.view()
    with pytest.raises(RuntimeError, match="not started"):
        view.wait_ready(0)
    with view:
        assert view.start() is view  # a second time does nothing
        with pytest.raises(NotReady, match=r"not ready after 0\.05 s: "):
            view.wait_ready(0.05)
        assert str(view.status) == "loading"
        chat.broker.is_down = False
        view.wait_ready(10)
        assert str(view.status) == "caught_up"
        assert view.stats.partitions == PARTITIONS
        assert view.stats.heard_s is not None
    assert len(chat.readers) == 1
    assert chat.readers[0].is_closed


def test_what_will_never_work_is_raised_and_the_status_says_so(chat: Chat) -> None:
    chat.broker.is_down = True
    view = chat.view().start()
    wait_until(lambda: chat.readers)
    chat.readers[0].fail(KafkaError._AUTHENTICATION)
    with pytest.raises(Fatal):
        view.wait_ready(10)
    wait_until(lambda: chat.readers[0].is_closed)
    assert view.status is ViewStatus.FAILED
    assert view.get("u") is None


def test_an_error_nobody_foresaw_is_told(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    def make(*_: object) -> FakeViewReader:
        raise ZeroDivisionError

    view = UserContextView("nowhere:1", TOPIC, make_consumer=make)
    with view, pytest.raises(ZeroDivisionError):
        view.wait_ready(10)
    assert "the view has ended" in caplog.text


def test_a_closed_view_answers_from_what_it_knew(chat: Chat, known: UserContextView) -> None:
    known.close()
    known.close()
    assert known.get("u") is not None
    with pytest.raises(RuntimeError, match="closed"):
        known.start()


def test_closing_ends_the_waiting(chat: Chat) -> None:
    chat.broker.is_down = True
    view = chat.view().start()
    threading.Timer(0.05, view.close).start()
    with pytest.raises(NotReady, match="closed"):
        view.wait_ready(10)


def test_stats_are_frozen_counts(chat: Chat) -> None:
    chat.write("u", record("u", 1))
    chat.write("u", b"nope")
    chat.write("v", record("v", 2))
    stats = chat.ready().stats
    assert (stats.users, stats.records, stats.undecodable) == (1, 3, 1)
    assert stats.value_bytes == len(record("v", 2))
    with pytest.raises(AttributeError):
        stats.users = 5  # type: ignore[misc]


# --- callbacks ---


def test_changes_are_told_until_the_callback_is_taken_back(chat: Chat) -> None:
    chat.write("old", record("old", 1))
    view = chat.ready()
    told: list[tuple[str, UserContext | None]] = []
    end = view.on_change(lambda user, context: told.append((user, context)))
    chat.write("u", record("u", 1))
    wait_until(lambda: len(told) == 1)
    chat.write("u", None)
    wait_until(lambda: len(told) == 2)
    assert [(user, context and context.version) for user, context in told] == [("u", 1), ("u", None)]
    end()
    chat.write("u", record("u", 3))
    wait_until(lambda: view.get("u"))
    assert len(told) == 2


def test_a_callback_that_fails_is_counted_and_the_others_are_called(
    chat: Chat, caplog: pytest.LogCaptureFixture
) -> None:
    view = chat.ready()
    told: list[str] = []

    def fail(_user: str, _context: UserContext | None) -> None:
        raise RuntimeError("mine")

    view.on_change(fail)
    view.on_change(lambda user, _context: told.append(user))
    for user in ("u", "v"):
        chat.write(user, record(user, 1))
    wait_until(lambda: len(told) == 2)
    assert view.stats.callback_errors == 2
    assert view.status is ViewStatus.CAUGHT_UP
    assert "a callback of the view raised" in caplog.text


# --- for asyncio ---


def test_the_async_face_waits_and_reads_without_blocking(chat: Chat) -> None:
    chat.broker.is_down = True
    chat.write("u", record("u", 1))

    async def scenario() -> None:
        async with AsyncUserContextView.over(chat.view()) as view:
            with pytest.raises(NotReady):
                await view.wait_ready(0.05)
            assert view.status is ViewStatus.LOADING
            waiting = asyncio.ensure_future(view.wait_ready(10))
            rounds = 0
            while not waiting.done():  # the loop goes round all the while
                await asyncio.sleep(0)
                rounds += 1
                if rounds == 100:
                    chat.broker.is_down = False
            await waiting
            assert rounds > 100
            assert view.stats.users == 1
            assert view.enrich("u", "How?").endswith("[Query]\nHow?")
        assert chat.readers[-1].is_closed

    asyncio.run(scenario())


def test_changes_of_a_user_come_one_after_the_other_and_only_the_newest_waits(chat: Chat) -> None:
    async def scenario() -> None:
        async with AsyncUserContextView.over(chat.view()) as view:
            await view.wait_ready(10)
            changes = view.changes("u")
            assert await anext(changes) is None
            chat.write("other", record("other", 1))
            chat.write("u", record("u", 1))
            first = await asyncio.wait_for(anext(changes), 10)
            assert first is not None
            assert first.version == 1
            for version in range(2, 50):
                chat.write("u", record("u", version))
            while (newest := view.get("u")) is None or newest.version < 49:
                await asyncio.sleep(0.001)
            found = await asyncio.wait_for(anext(changes), 10)
            assert found is not None
            assert found.version == 49
            await changes.aclose()
            assert view._waiting == {}

    asyncio.run(scenario())


# --- the package ---


def test_the_package_has_them_by_name() -> None:
    assert worker.UserContextView is UserContextView
    assert worker.AsyncUserContextView is AsyncUserContextView
    with pytest.raises(AttributeError, match="no attribute 'View'"):
        worker.View  # type: ignore[attr-defined]  # noqa: B018


# --- sessions ---


def test_a_chat_that_knows_the_session_is_told_before_and_after_the_login(chat: Chat) -> None:
    chat.write_session("s1", visitor("s1", session("s1", "look", conversation="c")))
    view = chat.ready(session_topic=SESSIONS)
    found = view.get_session(" s1 ")
    assert found is not None
    assert (found.user_id, found.context) == (None, activity("look"))
    assert view.get_session_by_conversation("c") == found
    assert view.enrich_session("s1", "How?") == f"[Session context]\n{activity('look')}\n\n[Query]\nHow?"
    assert view.enrich_session("s2", "How?") == "How?"
    chat.write_session("s1", visitor("s1", linked="u"))
    chat.write("u", record("u", 1, session("s1", "look", "pay", conversation="c")))
    wait_until(lambda: view.get_session("s1") is not None and view.get_session("s1") != found)
    found = view.get_session("s1", "acme")
    assert found is not None
    assert (found.user_id, found.context) == ("u", activity("look", "pay"))
    assert view.get_session_by_conversation("c") == found
    assert (view.stats.users, view.stats.sessions, view.stats.records) == (1, 1, 3)
    assert view.stats.partitions == 2 * PARTITIONS


def test_the_view_is_ready_when_both_topics_are_read(chat: Chat) -> None:
    view = chat.view(session_topic="not-there-yet").start()
    with pytest.raises(NotReady, match="not-there-yet"):
        view.wait_ready(0.05)
    assert view.status is ViewStatus.LOADING


def test_a_session_topic_that_may_not_be_read_fails_the_view(chat: Chat) -> None:
    view = chat.view(session_topic=SESSIONS)
    made = view._followers[1]._make_consumer

    def refused(*callbacks: Any) -> Any:
        reader = made(*callbacks)
        reader.refuse_topic = KafkaError.TOPIC_AUTHORIZATION_FAILED  # type: ignore[attr-defined]
        return reader

    view._followers[1]._make_consumer = refused
    view.start()
    with pytest.raises(Fatal):
        view.wait_ready(10)
    wait_until(lambda: view.status is ViewStatus.FAILED)


def test_sessions_need_their_topic(chat: Chat) -> None:
    view = chat.ready()
    assert not view.has_sessions
    with pytest.raises(RuntimeError, match="session_topic"):
        view.get_session("s1")
    with pytest.raises(ValueError, match="partitions"):
        chat.view(session_topic=SESSIONS, partitions={0})


def test_the_async_view_reads_sessions_too(chat: Chat) -> None:
    chat.write_session("s1", visitor("s1", session("s1", "look")))

    async def scenario() -> str:
        async with AsyncUserContextView.over(chat.view(session_topic=SESSIONS)) as view:
            await view.wait_ready(10)
            found = view.get_session("s1")
            assert found is not None
            return found.context

    assert asyncio.run(scenario()) == activity("look")
