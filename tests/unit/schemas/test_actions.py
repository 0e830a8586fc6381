"""Building and reading payloads, and their text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, asdict, fields

import pytest

from schemas import ActionsPayload, SlimAction, SummaryPayload
from tests.payloads import NOW, action, payload


def shape(kind: type[SlimAction | ActionsPayload | SummaryPayload]) -> list[tuple[str, object]]:
    return [(field.name, field.default) for field in fields(kind)]


def test_fields_are_named_and_ordered_as_the_sdk_has_them() -> None:
    assert shape(SlimAction) == [
        ("title", MISSING),
        ("description", MISSING),
        ("canonical_url", MISSING),
        ("index", 0),
        ("type", ""),
        ("timestamp_start", 0.0),
        ("timestamp_end", 0.0),
        ("raw_url", ""),
        ("session_id", None),
        ("user_id", None),
        ("email", None),
        ("conversation_id", None),
    ]
    assert shape(ActionsPayload) == [
        ("product_id", MISSING),
        ("session_id", MISSING),
        ("user_id", MISSING),
        ("email", MISSING),
        ("actions", MISSING),
        ("count", MISSING),
        ("forwarded_at", MISSING),
        ("conversation_id", None),
    ]
    assert shape(SummaryPayload) == [
        ("product_id", MISSING),
        ("session_id", MISSING),
        ("summary", MISSING),
        ("replaces", MISSING),
        ("forwarded_at", MISSING),
    ]


def test_an_action_reads_as_one_line() -> None:
    assert action("Looked\nat \u2028 it", index=2).to_text() == (
        "[2] pageview: Looked at   it — https://app.example.com/billing"
    )


def test_a_payload_reads_as_a_heading_and_its_actions() -> None:
    assert payload("a", "b").to_text() == (
        "Session ps_1 — 2 actions\n"
        "[0] pageview: a — https://app.example.com/billing\n"
        "[1] pageview: b — https://app.example.com/billing"
    )
    assert payload(session=None).to_text() == "Session unknown — 0 actions"


def test_a_summary_reads_as_itself() -> None:
    assert SummaryPayload("acme", "ps_1", "They exported a report.", 12, NOW).to_text() == "They exported a report."


def test_the_count_is_the_number_of_actions() -> None:
    assert ActionsPayload("acme", "ps_1", None, None, [action()], 99, NOW).count == 1


def test_payloads_are_mutable() -> None:
    changed = payload("a")
    changed.actions.append(action("b"))
    changed.user_id = "somebody"
    assert (len(changed.actions), changed.user_id) == (2, "somebody")


def test_an_empty_object_gives_the_defaults() -> None:
    assert SlimAction.from_dict({}) == SlimAction("", "", "")
    assert ActionsPayload.from_dict({}) == ActionsPayload("", None, None, None, [], 0, 0.0)
    assert SummaryPayload.from_dict({}) == SummaryPayload("", None, "", 0, 0.0)


def test_null_counts_as_missing() -> None:
    for kind in (SlimAction, ActionsPayload, SummaryPayload):
        assert kind.from_dict({field.name: None for field in fields(kind)}) == kind.from_dict({})


def test_what_was_written_is_read_back() -> None:
    written = ActionsPayload(
        "acme",
        "ps_1",
        "user_456",
        "alice@example.com",
        [SlimAction("t", "d", "/c", 4, "click", 1.0, 2.0, "/r", "ps_1", "user_456", "alice@example.com", "c_1")],
        1,
        NOW,
        "c_1",
    )
    assert ActionsPayload.from_dict({**asdict(written), "type": "actions", "newer": 1}) == written
    summary = SummaryPayload("acme", "ps_1", "They exported a report.", 12, NOW)
    assert SummaryPayload.from_dict(asdict(summary)) == summary


@pytest.mark.parametrize(
    ("given", "read"),
    [(" user_456 ", "user_456"), ("", None), (" ", None), (0, "0"), (2**70, "1180591620717411303424")],
)
def test_an_id_is_stripped_and_an_integer_is_its_exact_digits(given: object, read: str | None) -> None:
    raw = dict.fromkeys(("product_id", "session_id", "user_id", "email", "conversation_id"), given)
    actions = ActionsPayload.from_dict({**raw, "actions": [raw]})
    assert (actions.session_id, actions.user_id, actions.email, actions.conversation_id) == (read,) * 4
    assert (actions.actions[0].session_id, actions.actions[0].user_id) == (read,) * 2
    assert actions.product_id == (read or "")
    assert SummaryPayload.from_dict(raw).session_id == read


def test_an_integer_will_do_for_a_number() -> None:
    assert ActionsPayload.from_dict({"forwarded_at": 17}).forwarded_at == 17.0


def test_the_count_on_the_wire_does_not_count() -> None:
    assert ActionsPayload.from_dict({"count": 7, "actions": [{}]}).count == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"session_id": {}}, "session_id: expected a string or an integer, got dict"),
        ({"user_id": 1.0}, "user_id: expected a string or an integer, got float"),
        ({"email": True}, "email: expected a string or an integer, got bool"),
        ({"actions": "a"}, "actions: expected a list, got str"),
        ({"actions": {}}, "actions: expected a list, got dict"),
        ({"actions": [1]}, "actions[0]: expected an object, got int"),
        ({"actions": [{}, {"title": 5}]}, "actions[1].title: expected a string, got int"),
        ({"actions": [{"index": "0"}]}, "actions[0].index: expected an integer, got str"),
        ({"actions": [{"index": True}]}, "actions[0].index: expected an integer, got bool"),
        ({"count": "2"}, "count: expected an integer, got str"),
        ({"forwarded_at": "1712345678"}, "forwarded_at: expected a number, got str"),
        ({"forwarded_at": False}, "forwarded_at: expected a number, got bool"),
        ([], "payload: expected an object, got list"),
    ],
)
def test_a_wrong_type_is_refused_and_the_field_is_named(data: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError) as caught:
        ActionsPayload.from_dict(data)
    assert str(caught.value) == message


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400])
@pytest.mark.parametrize("read", [ActionsPayload.from_dict, SummaryPayload.from_dict])
def test_a_number_that_is_not_finite_is_refused(read: Callable[[dict[str, object]], object], number: float) -> None:
    with pytest.raises(ValueError, match="forwarded_at: expected a finite number"):
        read({"forwarded_at": number})


def test_payloads_of_a_session_merge_into_one() -> None:
    first = payload("a", "b", user=None, at=NOW)
    second = payload("c", user="user_456", email="alice@example.com", at=NOW - 5)
    third = payload("d", user="somebody else", email="else@example.com", at=NOW - 1)
    third.conversation_id = "c_1"
    merged = ActionsPayload.merge([first, second, third])
    assert [(a.index, a.description) for a in merged.actions] == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert (merged.user_id, merged.email, merged.conversation_id) == ("user_456", "alice@example.com", "c_1")
    assert (merged.product_id, merged.session_id, merged.count, merged.forwarded_at) == ("acme", "ps_1", 4, NOW)
    assert [a.index for a in third.actions] == [0]


def test_merging_anonymous_payloads_stays_anonymous() -> None:
    assert ActionsPayload.merge([payload("a", user=None), payload("b", user=None)]).user_id is None


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ActionsPayload.merge([])


def test_merging_different_sessions_is_refused() -> None:
    with pytest.raises(ValueError, match="one session"):
        ActionsPayload.merge([payload("a"), payload("b", product="other")])
