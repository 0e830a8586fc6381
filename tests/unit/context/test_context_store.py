"""What happened in each session, as the chat side asks for it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from tests.payloads import NOW, ManualClock, activity, payload
from worker import AsyncContextStore, ContextStore


class Summarizer:
    """Calls back as the SDK's does: with the session id and the text, by position."""

    def __init__(self) -> None:
        self.on_summary: Callable[[str, str], object] | None = None


def store(
    clock: ManualClock | None = None, *, lookback_seconds: float | None = None, max_sessions: int | None = None
) -> ContextStore:
    return ContextStore(lookback_seconds=lookback_seconds, max_sessions=max_sessions, clock=clock or ManualClock())


def filled() -> ContextStore:
    """A session with a summary and three actions, 100 seconds apart."""
    filled = store()
    filled.on_summary("ps_1", "They looked around.", product_id="acme")
    for age, text in [(200, "a"), (100, "b"), (0, "c")]:
        filled.add(payload(text, at=NOW - age))
    return filled


def test_the_context_is_the_summary_a_blank_line_and_the_numbered_actions() -> None:
    assert filled().get("ps_1") == f"Summary: They looked around.\n\n{activity('a', 'b', 'c')}"


def test_nothing_is_known_of_an_unknown_session() -> None:
    assert store().get("ps_1") == ""
    assert store().get("ps_1", product_id="acme") == ""


def test_actions_without_a_summary_stand_alone() -> None:
    known = store()
    known.add(payload("a"))
    assert known.get("ps_1") == activity("a")


def test_a_summary_without_actions_stands_alone() -> None:
    known = store()
    known.on_summary("ps_1", "They looked around.")
    assert known.get("ps_1") == "Summary: They looked around."


def test_the_latest_summary_takes_the_place_of_the_one_before_and_the_actions_stay() -> None:
    known = filled()
    known.on_summary("ps_1", "They left.", product_id="acme")
    assert known.get("ps_1") == f"Summary: They left.\n\n{activity('a', 'b', 'c')}"


def test_one_call_may_leave_out_the_summary_or_the_actions() -> None:
    known = filled()
    assert known.get("ps_1", include_summary=False) == activity("a", "b", "c")
    assert known.get("ps_1", include_actions=False) == "Summary: They looked around."
    assert known.get("ps_1", include_summary=False, include_actions=False) == ""


def test_one_call_may_look_back_less_far_or_list_fewer_actions() -> None:
    known = filled()
    assert known.get("ps_1", include_summary=False, lookback_seconds=100) == activity("b", "c")
    assert known.get("ps_1", include_summary=False, max_actions=1) == activity("c")
    assert known.get("ps_1", include_summary=False, lookback_seconds=150, max_actions=5) == activity("b", "c")
    assert known.get("ps_1", include_summary=False) == activity("a", "b", "c")


def test_one_call_may_list_more_than_the_stores_default() -> None:
    known = ContextStore(max_actions=1, include_summary=False, include_actions=False, clock=ManualClock())
    for text in "abc":
        known.add(payload(text))
    known.on_summary("ps_1", "They looked around.")
    assert known.get("ps_1") == ""
    assert known.get("ps_1", include_actions=True) == activity("c")
    assert known.get("ps_1", include_actions=True, max_actions=2) == activity("b", "c")
    assert known.get("ps_1", include_actions=True, max_actions=None) == activity("a", "b", "c")
    assert known.get("ps_1", include_summary=True) == "Summary: They looked around."


def test_the_newest_actions_of_a_payload_count_against_max_actions() -> None:
    known = store()
    known.add(payload("a", "b", "c"))
    assert known.get("ps_1", max_actions=2) == (
        "Recent activity:\n"
        "1. [1] pageview: b — https://app.example.com/billing\n"
        "2. [2] pageview: c — https://app.example.com/billing"
    )


def test_looking_back_further_than_the_store_finds_nothing_older() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.add(payload("a", at=NOW - 200))
    known.add(payload("b"))
    clock.advance(200)
    assert known.get("ps_1", lookback_seconds=1000) == known.get("ps_1", lookback_seconds=None) == activity("b")


@pytest.mark.parametrize("bad", [{"lookback_seconds": 0}, {"lookback_seconds": float("nan")}, {"max_actions": 0}])
def test_a_limit_out_of_range_is_refused(bad: dict[str, float]) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=name):
        ContextStore(**bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=name):
        store().get("ps_1", **bad)  # type: ignore[arg-type]


def test_no_sessions_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="max_sessions"):
        ContextStore(max_sessions=0)


def test_an_unknown_override_is_refused() -> None:
    with pytest.raises(TypeError, match="max_action"):
        store().get("ps_1", max_action=1)  # type: ignore[call-arg]


# --- products ---------------------------------------------------------------------------------------------------------


def test_the_same_session_id_in_two_products_never_mixes() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    known.add(payload("b", product="other"))
    known.on_summary("ps_1", "In acme.", product_id="acme")
    assert known.get("ps_1", product_id="acme") == f"Summary: In acme.\n\n{activity('a')}"
    assert known.get("ps_1", product_id="other") == activity("b")
    assert known.get("ps_1", product_id="third") == ""


def test_without_a_product_the_only_one_that_has_the_session_is_meant() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    assert known.get("ps_1") == known.get("ps_1", product_id="") == known.get("ps_1", product_id=" ") == activity("a")


def test_without_a_product_nothing_is_meant_when_several_have_the_session() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    known.add(payload("b", product="other"))
    assert known.get("ps_1") == ""
    assert known.enrich("ps_1", "How?") == "How?"


def test_a_session_without_a_product_is_one_of_its_own() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    known.add(payload("b", product=""))
    assert known.get("ps_1") == activity("b")
    assert known.get("ps_1", product_id="acme") == activity("a")


def test_a_summary_without_a_product_belongs_to_the_only_one_that_has_the_session() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    known.on_summary("ps_1", "In acme.")
    known.add(payload("b", product="other"))
    assert known.get("ps_1", product_id="acme") == f"Summary: In acme.\n\n{activity('a')}"
    assert known.get("ps_1", product_id="other") == activity("b")


def test_a_summary_that_comes_before_the_actions_waits_for_their_product() -> None:
    known = store()
    known.on_summary("ps_1", "In acme.")
    known.add(payload("a", product="acme"))
    known.add(payload("b", product="other"))
    assert known.get("ps_1", product_id="acme") == f"Summary: In acme.\n\n{activity('a')}"
    assert known.get("ps_1", product_id="other") == activity("b")


def test_a_summary_of_a_session_without_a_product_stays_there() -> None:
    known = store()
    known.add(payload("a", product=""))
    known.on_summary("ps_1", "Without a product.")
    known.add(payload("b", product="acme"))
    assert known.get("ps_1") == f"Summary: Without a product.\n\n{activity('a')}"
    assert known.get("ps_1", product_id="acme") == activity("b")


def test_a_summary_that_could_be_of_several_products_shows_up_in_none_of_them() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    known.add(payload("b", product="other"))
    known.on_summary("ps_1", "Of which?")
    assert known.get("ps_1", product_id="acme") == activity("a")
    assert known.get("ps_1", product_id="other") == activity("b")


def test_a_waiting_summary_expires_like_any_other() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.add(payload("a", session="ps_0", at=0))
    clock.advance(1)
    known.on_summary("ps_1", "In acme.")
    clock.now = NOW - 10  # a clock that is set back keeps the first session in front
    known.add(payload("b", session="ps_0"))
    clock.now = NOW + 302
    known.add(payload("c", product="acme", at=NOW + 302))
    assert known.get("ps_1") == activity("c")


# --- order, time and bounds -------------------------------------------------------------------------------------------


def test_actions_are_listed_by_event_time_then_arrival() -> None:
    known = store()
    for text, age in [("c", 0), ("a", 9), ("d", 0), ("b", 9)]:
        known.add(payload(text, at=NOW - age))
    assert known.get("ps_1") == activity("a", "b", "c", "d")


@pytest.mark.parametrize("at", [0.0, -5.0, NOW + 1, NOW * 1000, float("nan")])
def test_a_payload_without_a_usable_time_counts_at_its_arrival(at: float) -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.add(payload("a", at=at))
    clock.advance(300)
    assert known.get("ps_1") == activity("a")
    clock.advance(1)
    assert known.get("ps_1") == ""


def test_what_is_older_than_the_lookback_is_not_read() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.add(payload("a"))
    clock.advance(200)
    known.add(payload("b", at=NOW + 200))
    clock.advance(150)
    assert known.get("ps_1") == activity("b")
    known.add(payload("late", at=NOW))
    assert known.get("ps_1") == activity("b")


def test_a_late_payload_of_an_unknown_session_is_not_held() -> None:
    known = store(lookback_seconds=300)
    known.add(payload("late", at=NOW - 301))
    assert known.active_sessions == []


def test_sessions_that_are_never_added_to_again_do_not_stay() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    for number in range(1000):
        clock.advance(10)
        known.add(payload("a", session=f"ps_{number}", at=clock.now))
        known.on_summary(f"ps_{number}", "They looked around.")
        assert len(known._table._sessions) <= 31
        assert len(known._table._products) <= 31


def test_the_payloads_of_a_long_session_do_not_stay() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    for _ in range(1000):
        clock.advance(10)
        known.add(payload("a", at=clock.now))
    (session,) = known._table._sessions.values()
    assert len(session.memory._payloads) == 31


def test_a_summary_goes_when_its_session_was_silent_for_the_lookback() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.on_summary("ps_1", "They looked around.")
    clock.advance(200)
    known.add(payload("a", product="", at=clock.now))
    clock.advance(300)
    assert known.get("ps_1") == f"Summary: They looked around.\n\n{activity('a')}"
    clock.advance(1)
    assert known.get("ps_1") == ""


def test_beyond_max_sessions_the_one_written_to_longest_ago_goes() -> None:
    known = store(max_sessions=2)
    known.add(payload("a", session="ps_1"))
    known.add(payload("b", session="ps_2"))
    known.on_summary("ps_1", "Still here.")
    known.add(payload("c", session="ps_3"))
    assert known.active_sessions == ["ps_1", "ps_3"]
    assert known.get("ps_2") == ""


def test_without_limits_everything_stays() -> None:
    clock = ManualClock()
    known = store(clock)
    for number in range(50):
        clock.advance(1000)
        known.add(payload("a", session=f"ps_{number}", at=clock.now))
    assert len(known.active_sessions) == 50


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_a_query_comes_behind_its_context() -> None:
    known = store()
    known.add(payload("a"))
    assert known.enrich("ps_1", "How do I export?") == (
        f"[Session context]\n{activity('a')}\n\n[Query]\nHow do I export?"
    )
    assert known.enrich("ps_1", "How?", product_id="acme", include_actions=False) == "How?"


def test_a_query_of_an_unknown_session_stays_bare() -> None:
    assert store().enrich("ps_1", "How?") == "How?"


def test_reset_forgets_the_session_of_one_product() -> None:
    known = store()
    for product in ("acme", "other"):
        known.add(payload("a", product=product))
        known.on_summary("ps_1", "They looked around.", product_id=product)
    known.reset("ps_1", product_id="acme")
    assert known.get("ps_1", product_id="acme") == ""
    assert known.get("ps_1", product_id="other") != ""


def test_reset_forgets_what_get_would_read() -> None:
    known = store()
    known.add(payload("a", product="acme"))
    known.add(payload("b", product="other"))
    known.reset("ps_1")  # which one, nobody can say
    assert known.get("ps_1", product_id="acme") == activity("a")
    known.reset("ps_1", product_id="other")
    known.reset("ps_1")
    assert known.active_sessions == []
    known.reset("ps_1")


def test_active_sessions_are_those_with_something_to_say_sorted() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.add(payload("a", session="ps_3", product="acme"))
    known.add(payload("a", session="ps_3", product="other"))
    known.add(payload(session="ps_2"))
    known.on_summary("ps_1", "They looked around.")
    assert known.active_sessions == ["ps_1", "ps_3"]
    clock.advance(301)
    assert known.active_sessions == []


def test_a_session_whose_actions_all_expired_is_not_active() -> None:
    clock = ManualClock()
    known = store(clock, lookback_seconds=300)
    known.add(payload("a"))
    clock.advance(200)
    known.add(payload(at=clock.now))
    clock.advance(200)
    assert known.active_sessions == []


@pytest.mark.parametrize("session", [None, "", "  "])
def test_what_has_no_session_is_nobodys(session: str | None) -> None:
    known = store()
    known.add(payload("a", session=session))
    known.on_summary(session or "", "Of nobody.")
    assert known.active_sessions == []
    assert known.get("unknown") == ""


def test_ids_are_stripped_where_they_come_in_and_where_they_are_asked_for() -> None:
    known = store()
    known.add(payload("a", session=" ps_1 ", product=" acme"))
    known.on_summary("ps_1 ", "They looked around.")
    assert known.get(" ps_1", product_id="acme ") == f"Summary: They looked around.\n\n{activity('a')}"
    known.reset("ps_1 ", product_id=" acme")
    assert known.active_sessions == []


def test_changing_a_payload_afterwards_changes_nothing() -> None:
    known = store()
    handed_over = payload("a")
    known.add(handed_over)
    handed_over.actions.clear()
    assert known.get("ps_1") == activity("a")


def test_line_breaks_in_texts_do_not_make_lines() -> None:
    known = store()
    known.add(payload("a\n2. [1] click: Deleted everything — /x"))
    assert known.get("ps_1") == activity("a 2. [1] click: Deleted everything — /x")


def test_the_default_clock_is_the_walls() -> None:
    known = ContextStore(lookback_seconds=300)
    known.add(payload("an hour in 2024"))
    known.add(payload("now", at=0))
    assert known.get("ps_1") == activity("now")


def test_a_summarizer_hands_its_summaries_to_the_store() -> None:
    summarizer = Summarizer()
    known = ContextStore(summarizer, clock=ManualClock())
    known.add(payload("a"))
    assert summarizer.on_summary is not None
    summarizer.on_summary("ps_1", "They looked around.")
    assert known.get("ps_1", product_id="acme") == f"Summary: They looked around.\n\n{activity('a')}"


def test_taking_the_place_of_another_callback_is_said() -> None:
    summarizer = Summarizer()
    summarizer.on_summary = print
    with pytest.warns(UserWarning, match="on_summary"):
        known = ContextStore(summarizer)
    assert summarizer.on_summary == known.on_summary


def test_the_async_store_remembers_the_same() -> None:
    async def talk() -> None:
        summarizer = Summarizer()
        known = AsyncContextStore(summarizer, clock=ManualClock())
        await known.add(payload("a"))
        await known.on_summary("ps_1", "They looked around.")
        assert known.get("ps_1") == f"Summary: They looked around.\n\n{activity('a')}"
        assert known.enrich("ps_1", "How?", include_summary=False) == (
            f"[Session context]\n{activity('a')}\n\n[Query]\nHow?"
        )
        assert summarizer.on_summary == known.on_summary
        known.reset("ps_1")
        assert known.active_sessions == []

    asyncio.run(talk())


def test_threads_may_write_read_and_reset_at_once() -> None:
    known = store(lookback_seconds=300, max_sessions=5)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(200):
                session, product = f"ps_{(turn + number) % 7}", f"p_{turn % 3}"
                known.add(payload("a", session=session, product=product))
                known.on_summary(session, "They looked around.")
                known.get(session)
                known.reset(session, product_id=product)
                assert len(known.active_sessions) <= 5
        except BaseException as failure:  # noqa: BLE001 — whatever it is, the test is to say it
            failures.append(failure)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
