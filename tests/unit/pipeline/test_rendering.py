"""A user's memory as a record, and how it is cut to size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import UserContext
from tests.routed import json_text
from worker.context.session_memory import Seen
from worker.context.user_memory import UserMemory
from worker.pipeline.rendering import RenderPolicy, render

POLICY = RenderPolicy(lookback_s=300)


def memory_of(*payloads: Seen[bytes]) -> UserMemory[bytes]:
    memory: UserMemory[bytes] = UserMemory()
    for seen in payloads:
        memory.add(seen)
    return memory


def seen(at: float, *lines: str, session: str = "a", product: str = "", source: int = 0, **more: str) -> Seen[bytes]:
    ids = {"conversation_id": "", "email": "", **more}
    return Seen(product, session, at, source, json_text(lines), len(lines), **ids)


def record_of(memory: UserMemory[bytes], policy: RenderPolicy = POLICY) -> dict[str, Any]:
    value = render("alice", memory, 7, policy)
    assert value is not None
    assert len(value) <= policy.max_record_bytes
    assert UserContext.model_validate_json(value).user_id == "alice"
    record: dict[str, Any] = orjson.loads(value)
    return record


def test_a_record_has_every_field_of_the_contract_in_its_order() -> None:
    memory = memory_of(
        seen(
            1000.5,
            "[0] click: Pay — /",
            session="ps_2",
            product="acme",
            email="alice@example.com",
            conversation_id="k1",
        )
    )
    assert (
        render("alice", memory, 8123, POLICY)
        == (
            '{"schema_version":1,"user_id":"alice","email":"alice@example.com","version":8123,'
            '"updated_at":1000.5,"expires_at":1300.5,"sessions":[{"session_id":"ps_2","product_id":"acme",'
            '"conversation_id":"k1","last_seen_at":1000.5,"action_count":1,'
            '"context":"Recent activity:\\n1. [0] click: Pay — /"}],"truncated":false}'
        ).encode()
    )


def test_what_is_absent_is_null_or_empty() -> None:
    record = record_of(memory_of(seen(1000.0)))
    assert record["email"] is None
    assert record["sessions"] == [
        {
            "session_id": "a",
            "product_id": None,
            "conversation_id": None,
            "last_seen_at": 1000.0,
            "action_count": 0,
            "context": "",
        }
    ]


def test_only_the_window_up_to_the_newest_event_counts() -> None:
    memory = memory_of(
        seen(699.0, "too old", session="gone", source=1),
        seen(699.5, "old", source=2, conversation_id="k1", email="old@example.com"),
        seen(700.0, "border", source=3),
        seen(1000.0, "new", source=4),
    )
    record = record_of(memory)
    assert [session["session_id"] for session in record["sessions"]] == ["a"]
    assert record["sessions"][0]["context"] == "Recent activity:\n1. border\n2. new"
    assert record["sessions"][0]["conversation_id"] is None
    assert record["email"] is None


def test_sessions_are_newest_first_with_ties_by_session_and_then_product() -> None:
    memory = memory_of(
        seen(1000.0, session="b"),
        seen(1000.0, session="a", product="z"),
        seen(1000.0, session="a", product="acme"),
        seen(1001.0, session="z"),
        seen(999.0, session="0"),
    )
    keys = [(session["session_id"], session["product_id"]) for session in record_of(memory)["sessions"]]
    assert keys == [("z", None), ("a", "acme"), ("a", "z"), ("b", None), ("0", None)]


def test_no_more_sessions_and_actions_than_the_policy_says_the_newest() -> None:
    memory = memory_of(
        seen(1000.0, "1", "2", source=1),
        seen(1001.0, "3", "4", source=2),
        seen(999.0, session="b"),
        seen(998.0, session="c"),
    )
    record = record_of(memory, replace(POLICY, max_sessions=2, max_actions_per_session=3))
    assert [session["session_id"] for session in record["sessions"]] == ["a", "b"]
    assert record["sessions"][0]["context"] == "Recent activity:\n1. 2\n2. 3\n3. 4"
    assert record["sessions"][0]["action_count"] == 3
    assert not record["truncated"]


def test_the_email_can_be_left_out() -> None:
    memory = memory_of(seen(1000.0, email="alice@example.com"))
    assert record_of(memory, replace(POLICY, include_email=False))["email"] is None


# --- records that are too large ---------------------------------------------------------------------------------------


def large() -> UserMemory[bytes]:
    """Three sessions with 10 actions of 100 bytes each; `c` is the newest."""
    return memory_of(
        *(
            seen(
                1000.0 + order * 10 + number,
                f"{session}{number} " + "x" * 97,
                session=session,
                source=order * 10 + number,
            )
            for order, session in enumerate("abc")
            for number in range(10)
        )
    )


def counts(max_record_bytes: int) -> dict[str, int]:
    record = record_of(large(), replace(POLICY, max_record_bytes=max_record_bytes))
    for session in record["sessions"]:
        assert bool(session["context"]) == bool(session["action_count"])
    return {session["session_id"]: session["action_count"] for session in record["sessions"]}


def size_of(max_record_bytes: int = 1_000_000) -> int:
    value = render("alice", large(), 7, replace(POLICY, max_record_bytes=max_record_bytes))
    assert value is not None
    return len(value)


def test_a_record_that_just_fits_is_whole() -> None:
    assert counts(size_of()) == {"c": 10, "b": 10, "a": 10}


def test_the_oldest_sessions_context_goes_first() -> None:
    assert counts(size_of() - 1) == {"c": 10, "b": 10, "a": 0}
    assert counts(2000) == {"c": 10, "b": 0, "a": 0}


def test_then_the_oldest_actions_of_the_newest_session_go() -> None:
    record = record_of(large(), replace(POLICY, max_record_bytes=1300))
    assert [session["action_count"] for session in record["sessions"]] == [7, 0, 0]
    lines = record["sessions"][0]["context"].split("\n")[1:]
    assert [line.split(" ")[:2] for line in lines] == [[f"{n}.", f"c{n + 2}"] for n in range(1, 8)]
    assert record["truncated"]


def test_at_last_whole_sessions_go_the_oldest_first() -> None:
    assert counts(468) == {"c": 0, "b": 0}
    assert counts(300) == {"c": 0}
    assert counts(200) == {}


def test_a_user_whose_ids_alone_are_too_large_has_no_record() -> None:
    assert render("alice", large(), 7, replace(POLICY, max_record_bytes=100)) is None


def test_the_newest_session_keeps_what_fits_when_it_is_the_only_one() -> None:
    memory = memory_of(*(seen(1000.0 + n, "é" * 50, source=n) for n in range(50)))
    record = record_of(memory, replace(POLICY, max_record_bytes=1024))
    assert 0 < record["sessions"][0]["action_count"] < 10
    one_more = replace(POLICY, max_actions_per_session=record["sessions"][0]["action_count"] + 1)
    value = render("alice", memory, 7, one_more)
    assert value is not None
    assert len(value) > 1024


@pytest.mark.parametrize("text", ['"' * 300, "\\" * 300, "\u0001" * 300])
def test_the_limit_is_that_of_the_encoded_bytes(text: str) -> None:
    record = record_of(
        memory_of(seen(1000.0, text, source=1), seen(1001.0, "b", source=2)), replace(POLICY, max_record_bytes=500)
    )
    assert record["sessions"][0]["context"] == "Recent activity:\n1. b"


@given(
    st.lists(
        st.tuples(st.sampled_from("abcd"), st.integers(0, 20), st.lists(st.text(max_size=40), max_size=3)), min_size=1
    ),
    st.integers(100, 2000),
)
def test_a_record_never_exceeds_its_limit_and_says_when_it_was_cut(
    payloads: list[tuple[str, int, list[str]]], max_record_bytes: int
) -> None:
    memory = memory_of(
        *(seen(1000.0 + at, *lines, session=session, source=n) for n, (session, at, lines) in enumerate(payloads))
    )
    whole = record_of(memory)
    value = render("alice", memory, 7, replace(POLICY, max_record_bytes=max_record_bytes))
    if value is None:
        return
    assert len(value) <= max_record_bytes
    record = orjson.loads(value)
    assert record["truncated"] == (len(orjson.dumps(whole)) > max_record_bytes)
    if not record["truncated"]:
        assert record == whole


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.lists(st.integers(0, 60), max_size=4)), min_size=1
    ),
    st.integers(200, 900),
    st.integers(1, 6),
)
def test_text_that_a_session_drops_for_its_length_could_never_be_shown(
    payloads: list[tuple[str, int, list[int]]], max_record_bytes: int, max_actions: int
) -> None:
    policy = replace(POLICY, lookback_s=10, max_record_bytes=max_record_bytes, max_actions_per_session=max_actions)
    whole, bounded = memory_of(), memory_of()
    for n, (session, at, lengths) in enumerate(payloads):
        payload = seen(1000.0 + at, *(f"{n}" * length for length in lengths), session=session, source=n)
        whole.add(payload)
        bounded.add(payload, max_actions, max_record_bytes)
    assert render("alice", bounded, 7, policy) == render("alice", whole, 7, policy)


# --- texts that are kept from one record to the next ------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.integers(0, 30),  # when it happened
            st.integers(0, 20),  # which payload: some are repeats
            st.integers(0, 3),  # actions
            st.sampled_from([None, 3, 10]),  # the lookback of a record that is made then
            st.none() | st.integers(0, 30),  # what is forgotten first
        ),
        min_size=1,
    ),
    st.integers(250, 900),
    st.integers(1, 6),
)
def test_a_record_with_kept_texts_is_the_same_to_the_byte(
    steps: list[tuple[str, int, int, int, float | None, int | None]], max_record_bytes: int, max_actions: int
) -> None:
    kept, anew = memory_of(), memory_of()
    for session, at, source, actions, lookback, forgets in steps:
        payload = seen(1000.0 + at, *(f"{source} {n}" for n in range(actions)), session=session, source=source)
        for memory in (kept, anew):
            memory.add(payload, max_actions)
        if lookback is None:
            continue
        policy = replace(
            POLICY, lookback_s=lookback, max_record_bytes=max_record_bytes, max_actions_per_session=max_actions
        )
        if forgets is not None:
            for memory in (kept, anew):
                memory.forget_before(1000.0 + min(forgets, at))
        assert render("alice", kept, 7, policy, keeps=True) == render("alice", anew, 7, policy)
        assert all(session.rendered is None for session in anew.sessions.values()), "else nothing was compared"


def keeping(memory: UserMemory[bytes]) -> list[str]:
    """The sessions that keep their text."""
    return [session_id for (_, session_id), session in memory.sessions.items() if session.rendered is not None]


def test_only_texts_that_stand_in_the_record_are_kept() -> None:
    memory = memory_of(*(seen(1000.0 + n, "one", session=session, source=n) for n, session in enumerate("abc")))
    render("alice", memory, 7, replace(POLICY, max_sessions=2), keeps=True)
    assert keeping(memory) == ["b", "c"]
    memory.add(seen(1009.0, "two", session="a", source=9))
    render("alice", memory, 7, replace(POLICY, max_sessions=2), keeps=True)
    assert keeping(memory) == ["a", "c"]
    render("alice", memory, 7, replace(POLICY, lookback_s=5), keeps=True)
    assert keeping(memory) == ["a"]


def test_no_more_text_is_kept_than_a_record_may_have_that_of_the_newest_sessions() -> None:
    memory = memory_of(
        *(seen(1000.0 + n, "x" * 400, session=session, source=n) for n, session in enumerate("abcdefgh"))
    )
    assert len(record_of(memory, replace(POLICY, max_record_bytes=2000))["sessions"]) == 8
    render("alice", memory, 7, replace(POLICY, max_record_bytes=2000), keeps=True)
    assert keeping(memory) == ["e", "f", "g", "h"]


def test_a_text_is_made_again_for_the_session_that_changed_and_for_no_other() -> None:
    memory = memory_of(seen(1000.0, "one", session="a", source=1), seen(1001.0, "two", session="b", source=2))
    assert render("alice", memory, 7, POLICY, keeps=True)
    before = {key: session.rendered for key, session in memory.sessions.items()}
    memory.add(seen(1002.0, "three", session="b", source=3))
    assert render("alice", memory, 8, POLICY, keeps=True)
    after = {key: session.rendered for key, session in memory.sessions.items()}
    assert before["", "a"] is not None
    assert after["", "a"] is before["", "a"]
    assert after["", "b"] != before["", "b"]


def test_a_text_is_made_again_when_an_action_of_it_has_left_the_lookback() -> None:
    memory = memory_of(seen(1000.0, "one", source=1), seen(1001.0, "two", source=2))
    assert render("alice", memory, 7, POLICY, keeps=True)
    memory.add(seen(1300.5, "three", session="b", source=3))
    value = render("alice", memory, 8, POLICY, keeps=True)
    assert value is not None
    assert [session["action_count"] for session in orjson.loads(value)["sessions"]] == [1, 1]


def test_a_text_is_made_again_when_a_record_looks_further_back() -> None:
    memory = memory_of(seen(1000.0, "one", source=1), seen(1008.0, "two", source=2))
    for lookback, actions in ((3.0, 1), (10.0, 2)):
        value = render("alice", memory, 7, replace(POLICY, lookback_s=lookback), keeps=True)
        assert value is not None
        assert [session["action_count"] for session in orjson.loads(value)["sessions"]] == [actions]


def test_a_session_may_list_more_actions_than_anybody_has_asked_for_before() -> None:
    memory = memory_of(*(seen(1000.0, f"[{n}] click: {n} — /", source=n) for n in range(1, 251)))
    (session,) = record_of(memory, replace(POLICY, max_actions_per_session=1000))["sessions"]
    assert session["action_count"] == 250
    lines = session["context"].splitlines()[1:]
    assert lines == [f"{n}. [{n}] click: {n} — /" for n in range(1, 251)]
