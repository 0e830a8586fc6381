"""What the demo says of each person while it runs."""

from __future__ import annotations

import json

from worker.demo import cast
from worker.demo.cast import Person
from worker.demo.chat import prompt_pair
from worker.demo.observer import GRACE_S, Observer, newest_line
from worker.demo.scene import PersonState, PersonView
from worker.demo.topics import Read
from worker.demo.traffic import Step, steps

START = 1_700_000_000.0


def step_of(person: Person) -> Step:
    return next(step for step in steps() if step.person == person)


def clicked(observer: Observer, person: Person, now: float) -> None:
    step = step_of(person)
    observer.clicked(step)
    observer.delivered(Read(0, int(now - START), step.key.encode(), step.value(now)), now)


def view(observer: Observer, person: Person, now: float) -> PersonView:
    return observer.views((person,), now)[0]


def record(user: str, now: float) -> bytes:
    context = "Recent activity:\n1. [0] pageview: Landed on Settings — https://app.ledger.example/settings"
    session = {"session_id": "s-omar", "product_id": "ledger", "conversation_id": None, "last_seen_at": now}
    return json.dumps(
        {
            "schema_version": 1,
            "user_id": user,
            "email": cast.OMAR.email,
            "updated_at": now,
            "expires_at": now + 9.0,
            "sessions": [{**session, "action_count": 1, "context": context}],
            "truncated": False,
            "version": 3,
        }
    ).encode()


def test_a_person_is_away_then_behind_then_right_then_expired() -> None:
    observer, omar = Observer(9.0, 3.0), cast.OMAR
    assert view(observer, omar, START).state is PersonState.AWAY

    clicked(observer, omar, START)
    assert view(observer, omar, START + 2 * GRACE_S).state is PersonState.BEHIND

    observer.published("u-omar", record("u-omar", START), START + 0.02)
    right = view(observer, omar, START + 2 * GRACE_S)
    assert right == PersonView("Omar", PersonState.RIGHT, 1, 1, "pageview: Landed on Settings")

    observer.published("u-omar", None, START + 9.5)
    assert view(observer, omar, START + 9.6).state is PersonState.EXPIRED
    assert observer.has_expired(omar)


def test_a_visitor_s_clicks_are_held() -> None:
    observer = Observer(9.0, 3.0)
    clicked(observer, cast.VISITOR, START)

    assert view(observer, cast.VISITOR, START + 5) == PersonView("a visitor", PersonState.HELD, clicks=1)


def test_the_latency_is_from_the_click_to_its_record() -> None:
    observer = Observer(9.0, 3.0)
    before = observer.latency_ms

    clicked(observer, cast.OMAR, START)
    observer.published("u-omar", record("u-omar", START), START + 0.25)
    observer.published("u-omar", record("u-omar", START), START + 4)  # published again, not a new click

    assert (before, observer.latency_ms) == (None, 250)
    assert (observer.sent, observer.records) == (1, 2)


def test_the_newest_line_has_neither_numbers_nor_address() -> None:
    context = "Recent activity:\n1. [0] a: b — c\n2. [7] click: Opened [3] — twice — https://e.example"

    assert newest_line({"sessions": [{"context": context}]}) == "click: Opened [3] — twice"


def test_a_question_without_a_record_stays_bare() -> None:
    pair = prompt_pair(cast.QUESTIONS[0], None)

    assert pair.with_context == pair.without == cast.QUESTIONS[0].text
