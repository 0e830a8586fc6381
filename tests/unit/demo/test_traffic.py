"""The script: what the demo has to show is in it, and at the right time."""

from __future__ import annotations

import json

from schemas.codec import Payload, Skip, read_payload
from worker.demo import cast
from worker.demo.story import KILL_AT_S
from worker.demo.theatre import LOOKBACK_S
from worker.demo.traffic import UNREADABLE, Step, steps

NOW = 1_700_000_000.0


def payload_steps() -> list[Step]:
    return [step for step in steps() if step.person is not None]


def payload_of(step: Step) -> Payload:
    payload = read_payload(step.value(NOW))
    assert isinstance(payload, Payload)
    return payload


def test_steps_come_in_the_order_of_time() -> None:
    times = [step.at_s for step in steps()]

    assert times == sorted(times)


def test_every_step_of_a_person_is_a_payload_of_its_session_at_the_time_it_is_sent() -> None:
    for step in payload_steps():
        payload = payload_of(step)

        assert payload.session_id == step.key
        assert payload.forwarded_at == NOW
        assert len(payload.text().splitlines()) == 1


def test_everybody_in_the_cast_does_something() -> None:
    assert {step.person for step in payload_steps()} == set(cast.PEOPLE)


def test_the_record_that_nobody_can_read_and_the_summary_are_in_it() -> None:
    others = [step.value(NOW) for step in steps() if step.person is None]

    assert others[0] == UNREADABLE
    assert read_payload(others[1]) is Skip.OTHER_TYPE


def test_mia_clicks_without_an_account_before_the_kill_and_signs_up_after_it() -> None:
    mine = [(step.at_s, payload_of(step).user_id) for step in payload_steps() if step.key == cast.HELD_SESSION]
    anonymous = [at_s for at_s, user in mine if not user]
    known = [at_s for at_s, user in mine if user]

    assert len([at_s for at_s in anonymous if at_s < KILL_AT_S]) >= 3
    assert min(known) > KILL_AT_S
    assert max(known) - min(anonymous) < LOOKBACK_S, "her first click has to be in her last record"


def test_the_front_desk_changes_hands_within_one_session() -> None:
    users = [payload_of(step).user_id for step in payload_steps() if step.key == "s-front-desk"]

    assert users == ["u-ana"] * 4 + ["u-ben"] * 5


def test_yuki_is_named_by_her_first_click_only() -> None:
    users = [payload_of(step).user_id for step in payload_steps() if step.person == cast.YUKI]

    assert users == ["u-yuki"] + [""] * 11


def test_omar_leaves_early_enough_to_expire_while_others_still_click() -> None:
    last = max(step.at_s for step in payload_steps() if step.person == cast.OMAR)

    assert last + LOOKBACK_S < steps()[-1].at_s


def test_those_who_ask_have_something_to_ask_about() -> None:
    for question in cast.QUESTIONS:
        assert any(step.person == question.person for step in payload_steps())


def test_an_integer_user_id_and_a_text_with_line_breaks_are_on_the_wire() -> None:
    values = [json.loads(step.value(NOW)) for step in payload_steps()]

    assert any(isinstance(value["user_id"], int) for value in values)
    assert any("\r\n" in value["actions"][0]["description"] for value in values)
