"""Drop-in fidelity: the same calls on our stores and on the SDK's give the same answers.

The calls are those that the SDK's documentation shows: payloads in the order of their times, a session in one product
and of one user, a summary of a session that is there. Where ours is meant to differ is in
`tests/unit/context/test_sdk_differences.py`, each difference by name.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import autoplay_sdk
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
import worker
from tests.payloads import NOW, ManualClock
from tests.sdk import sdk_clock

SESSIONS = ("s0", "s1", "s2", "s3", "s4", "s5")
USERS = ("ann", "bob")
LOOKBACK_S = 300.0


def product_of(session: str) -> str:
    return "" if session == "s0" else f"product-{int(session[1:]) % 2}"


def user_of(session: str) -> str:
    return USERS[int(session[1:]) % len(USERS)]


# --- the calls ---


@dataclass(frozen=True)
class Add:
    session: str
    actions: int


@dataclass(frozen=True)
class Summarize:
    session: str


@dataclass(frozen=True)
class Reset:
    session: str


@dataclass(frozen=True)
class ResetUser:
    user: str


@dataclass(frozen=True)
class Wait:
    seconds: float


Call = Add | Summarize | Reset | ResetUser | Wait

sessions = st.sampled_from(SESSIONS)
adds = st.builds(Add, sessions, st.integers(1, 4))
waits = st.builds(Wait, st.sampled_from([1.0, 100.0, 299.0, 300.0, 301.0]))
resets = st.builds(Reset, sessions) | st.builds(ResetUser, st.sampled_from(USERS))
calls = st.lists(adds | adds | waits | resets | st.builds(Summarize, sessions), max_size=40)
calls_without_summaries = st.lists(adds | adds | waits | resets, max_size=40)

overrides = st.fixed_dictionaries(
    {},
    optional={
        "include_summary": st.booleans(),
        "include_actions": st.booleans(),
        "lookback_seconds": st.sampled_from([None, 1.0, 100.0, 300.0]),
        "max_actions": st.sampled_from([None, 1, 3, 100]),
    },
)


# --- both sides ---


@dataclass
class Side:
    """One implementation: its stores, and the payload class that its users have."""

    store: Any
    index: Any
    payload: Any


class Both:
    """The same calls go to both sides."""

    def __init__(self, *, asynchronous: bool = False, index_lookback: float = LOOKBACK_S, **settings: Any) -> None:
        self.clock = ManualClock(NOW)
        store = "AsyncContextStore" if asynchronous else "ContextStore"
        theirs = getattr(autoplay_sdk, store)(**settings)
        ours = getattr(worker, store)(clock=self.clock, **settings)
        bounds: dict[str, Any] = {"lookback_seconds": index_lookback, "max_sessions_per_user": 2}
        self.theirs = Side(theirs, autoplay_sdk.UserSessionIndex(theirs, **bounds), autoplay_sdk.ActionsPayload)
        self.ours = Side(ours, worker.UserSessionIndex(ours, **bounds, clock=self.clock), schemas.ActionsPayload)
        # Our index over their store, and theirs over ours.
        self.crossed = (
            autoplay_sdk.UserSessionIndex(ours, **bounds),
            worker.UserSessionIndex(theirs, **bounds, clock=self.clock),
        )
        self._there: set[str] = set()
        self._number = 0

    @property
    def sides(self) -> tuple[Side, Side]:
        return self.theirs, self.ours

    @property
    def indexes(self) -> tuple[Any, ...]:
        return (self.theirs.index, self.ours.index, *self.crossed)

    def play(self, history: list[Call]) -> None:
        with sdk_clock(self.clock):
            for call in history:
                self._play(call)

    def _play(self, call: Call) -> None:
        self.clock.advance(1.0)
        match call:
            case Add():
                self._add(call)
            case Summarize() if call.session in self._there:
                for side in self.sides:
                    done(side.store.on_summary(call.session, f"Summary {self._number} of {call.session}."))
            case Reset():
                self._there.discard(call.session)
                for side in self.sides:
                    side.store.reset(call.session, product_id=product_of(call.session))
            case ResetUser():
                for index in self.indexes:
                    index.reset_user(call.user)
            case Wait():
                self.clock.advance(call.seconds)

    def _add(self, call: Add) -> None:
        self._there.add(call.session)
        self._number += 1
        raw = self._raw(call)
        for side in self.sides:
            payload = side.payload.from_dict(raw)
            done(side.store.add(payload))
            side.index.add(payload)
        self.crossed[0].add(self.ours.payload.from_dict(raw))
        done(self.crossed[1].add_async(self.theirs.payload.from_dict(raw)))

    def _raw(self, call: Add) -> dict[str, Any]:
        actions = [
            {
                "title": "Billing",
                "description": f"did {self._number}.{number}",
                "canonical_url": "https://app.example.com/billing",
                "index": number,
                "type": "click",
            }
            for number in range(call.actions)
        ]
        return {
            "type": "actions",
            "session_id": call.session,
            "product_id": product_of(call.session),
            "user_id": user_of(call.session),
            "email": f"{user_of(call.session)}@example.com",
            "actions": actions,
            "count": call.actions,
            "forwarded_at": self.clock.now,
        }

    def answers(self, ask: Any) -> tuple[Any, Any]:
        with sdk_clock(self.clock):
            return ask(self.theirs), ask(self.ours)


def done(result: Coroutine[Any, Any, None] | None) -> None:
    """Both async stores finish without ever waiting."""
    if result is not None:
        asyncio.run(result)


@contextmanager
def no_warnings_of_the_sdk() -> Iterator[None]:
    """It warns whenever a read falls back to the only product."""
    logger = logging.getLogger("autoplay_sdk")
    before, logger.disabled = logger.level, False
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def check_reads(both: Both, given_overrides: dict[str, Any]) -> None:
    with no_warnings_of_the_sdk():
        for session in SESSIONS:
            for product in ({"product_id": product_of(session)}, {}):
                theirs, ours = both.answers(lambda side: side.store.get(session, **product, **given_overrides))  # noqa: B023
                assert ours == theirs
            theirs, ours = both.answers(lambda side: side.store.enrich(session, "How?", **given_overrides))  # noqa: B023
            assert ours == theirs


def check_index(both: Both) -> None:
    with sdk_clock(both.clock):
        for user in USERS:
            first, *others = [
                [(ref.session_id, ref.product_id, ref.last_seen_at) for ref in index.get_recent_sessions(user)]
                for index in both.indexes
            ]
            assert others == [first] * 3
            texts = [index.get_user_activity(user) for index in both.indexes]
            assert texts == [texts[0]] * 4
            if first:
                assert [index.get_email(user) for index in both.indexes] == [f"{user}@example.com"] * 4


@pytest.mark.parametrize("asynchronous", [False, True])
def test_reads_are_the_same_whatever_was_called(asynchronous: bool) -> None:
    @given(calls, overrides)
    def check(history: list[Call], given_overrides: dict[str, Any]) -> None:
        both = Both(asynchronous=asynchronous)
        both.play(history)
        check_reads(both, given_overrides)
        check_index(both)
        theirs, ours = both.answers(lambda side: side.store.active_sessions)
        assert ours == sorted({bucket.rpartition("\x1f")[2] for bucket in theirs})

    check()


@given(calls_without_summaries, overrides)
def test_reads_are_the_same_with_a_lookback_and_a_bound_of_sessions(
    history: list[Call], given_overrides: dict[str, Any]
) -> None:
    both = Both(lookback_seconds=LOOKBACK_S, max_sessions=3, max_actions=5)
    both.play(history)
    if given_overrides.get("lookback_seconds", LOOKBACK_S) is not None:
        check_reads(both, given_overrides)
    check_index(both)


@given(calls_without_summaries)
def test_the_index_is_the_same_with_another_lookback_than_the_stores(history: list[Call]) -> None:
    both = Both(index_lookback=100.0)
    both.play(history)
    check_index(both)


# --- payloads ---

texts = st.text(st.characters(categories=["L", "N", "P", "Zs"]), max_size=8)
ids = st.none() | st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=5)
actions = st.fixed_dictionaries(
    {},
    optional={
        "title": texts | st.none(),
        "description": texts,
        "canonical_url": texts,
        "raw_url": texts,
        "type": texts,
        "index": st.integers(0, 99),
        "timestamp_start": st.floats(0, 2e9),
        "timestamp_end": st.floats(0, 2e9),
        "session_id": ids,
        "user_id": ids,
        "unknown": texts,
    },
)
payloads = st.fixed_dictionaries(
    {"actions": st.lists(actions, max_size=4)},
    optional={
        "type": st.just("actions"),
        "session_id": st.just("s"),
        "product_id": st.just("p"),
        "user_id": ids,
        "email": ids,
        "conversation_id": ids,
        "forwarded_at": st.floats(0, 2e9) | st.none(),
        "unknown": texts,
    },
)


def fields(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value))


@given(payloads)
def test_a_payload_reads_and_tells_the_same(raw: dict[str, Any]) -> None:
    raw = {**raw, "count": len(raw["actions"])}
    theirs, ours = autoplay_sdk.ActionsPayload.from_dict(raw), schemas.ActionsPayload.from_dict(raw)
    assert fields(ours) == fields(theirs)
    assert ours.to_text() == theirs.to_text()


@given(st.lists(payloads, min_size=1, max_size=4))
def test_payloads_of_one_session_merge_to_the_same(raws: list[dict[str, Any]]) -> None:
    of_one = [{**raw, "session_id": "s", "product_id": "p", "count": len(raw["actions"])} for raw in raws]
    theirs = autoplay_sdk.ActionsPayload.merge([autoplay_sdk.ActionsPayload.from_dict(raw) for raw in of_one])
    ours = schemas.ActionsPayload.merge([schemas.ActionsPayload.from_dict(raw) for raw in of_one])
    assert fields(ours) == fields(theirs)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "session_id": ids,
            "product_id": ids,
            "summary": texts | st.none(),
            "replaces": st.integers(0, 99),
            "forwarded_at": st.floats(0, 2e9),
        },
    )
)
def test_a_summary_reads_and_tells_the_same(raw: dict[str, Any]) -> None:
    theirs, ours = autoplay_sdk.SummaryPayload.from_dict(raw), schemas.SummaryPayload.from_dict(raw)
    assert fields(ours) == fields(theirs)
    assert ours.to_text() == theirs.to_text()


def test_the_summarizer_of_the_sdk_hands_its_summaries_to_our_store() -> None:
    summarizer = autoplay_sdk.SessionSummarizer(llm=lambda _prompt: "They looked around.", threshold=2)
    store = worker.ContextStore(summarizer)
    raw = {"session_id": "s", "actions": [{"description": "a"}, {"description": "b"}], "count": 2}
    payload = autoplay_sdk.ActionsPayload.from_dict(raw)
    store.add(payload)
    summarizer.add(payload)
    assert store.get("s", include_actions=False) == "Summary: They looked around."
