"""Three descriptions of the input agree on any document: the reader, `from_dict`, and the JSON Schema."""

from __future__ import annotations

from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas import ActionsPayload
from schemas.actions import identifier
from schemas.codec import InvalidPayload, Payload, PayloadIds, Skip, read_ids, read_payload
from schemas.json_schema import documents
from tests.routed import as_lines
from worker.pipeline.reading import Reader, Unread

VALIDATOR = Draft202012Validator(orjson.loads(documents()["actions_payload.schema.json"]))

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
integers = st.integers(-(2**63), 2**64 - 1)
floats = st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer())
ids = st.none() | texts | integers
anything = st.one_of(st.none(), st.booleans(), integers, floats, texts, st.lists(integers, max_size=2), st.just({}))


def objects(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with any of the fields, each mostly of its own type, and others."""
    mostly = {name: st.one_of(*[strategy] * 8, anything) for name, strategy in fields.items()}
    return st.fixed_dictionaries({}, optional={**mostly, "newer": anything})


text = st.none() | texts
number = st.none() | integers | floats
actions = objects(
    title=text,
    description=text,
    canonical_url=text,
    index=st.none() | integers,
    type=text,
    timestamp_start=number,
    timestamp_end=number,
    raw_url=text,
)
payloads = objects(
    product_id=ids,
    session_id=ids,
    user_id=ids,
    email=ids,
    conversation_id=ids,
    actions=st.none() | st.lists(st.one_of(*[actions] * 8, anything), max_size=4),
    count=st.none() | integers,
    forwarded_at=number,
)


def read(document: object) -> Payload | Skip | None:
    """None when it is refused."""
    try:
        return read_payload(orjson.dumps(document))
    except InvalidPayload:
        return None


@given(payloads)
def test_what_validates_is_read_and_what_does_not_is_refused(document: dict[str, Any]) -> None:
    assert VALIDATOR.is_valid(document) == (read(document) is not None)


@given(payloads)
def test_from_dict_reads_what_the_worker_reads(document: dict[str, Any]) -> None:
    result = read(document)
    try:
        payload = ActionsPayload.from_dict(document)
    except TypeError:
        assert result is None
        return
    assert result is not None
    if isinstance(result, Skip):
        assert payload.session_id is None
        return
    assert identifier(payload.session_id) == result.session_id
    assert payload.product_id == result.product_id
    assert identifier(payload.user_id) == result.user_id
    assert identifier(payload.email) == result.email
    assert identifier(payload.conversation_id) == result.conversation_id
    assert payload.forwarded_at == (result.forwarded_at or 0.0)
    assert tuple(action.to_text() for action in payload.actions) == as_lines(result.text())


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: text.encode(errors="surrogatepass")))
def test_any_bytes_are_a_payload_a_skip_or_a_refusal(value: bytes) -> None:
    try:
        result: Payload | Skip | str = read_payload(value)
    except InvalidPayload as refusal:
        result = refusal.reason
    assert isinstance(result, Payload | Skip) or result in ("not_json", "not_an_object", "wrong_type")


@given(payloads, st.data())
def test_a_damaged_value_is_a_payload_a_skip_or_a_refusal(document: dict[str, Any], data: st.DataObject) -> None:
    value = bytearray(orjson.dumps(document))
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(value)))
    for damaged in (bytes(value), bytes(value[:end])):
        try:
            result = read_payload(damaged)
        except InvalidPayload:
            continue
        if isinstance(result, Payload):
            result.session_id.encode()  # text that UTF-8 can hold, as everything after this relies on


@given(payloads, st.booleans())
def test_the_ids_alone_are_those_of_the_whole(document: dict[str, Any], in_a_frame: bool) -> None:
    value = orjson.dumps(document)
    if in_a_frame:
        value = b"\0\0\0\0\1" + value
    whole = read(document)
    if whole is None:
        return  # of a dead letter anything may be said
    ids = read_ids(value)
    if isinstance(whole, Skip):
        assert ids == whole
        return
    assert isinstance(ids, PayloadIds)
    for name in ("session_id", "product_id", "user_id", "forwarded_at"):
        assert getattr(ids, name) == getattr(whole, name)
    for sound_from in (0, 8):
        reader = Reader(1, 60.0, sound_from)
        unread = reader.read_again(7, value, 1e9, 2e9)
        assert isinstance(unread, Unread)
        assert unread.whole() == reader.read(7, value, 1e9, 2e9)


@given(payloads)
def test_every_action_is_one_line(document: dict[str, Any]) -> None:
    result = read(document)
    if isinstance(result, Payload):
        assert len(result.text().decode().splitlines()) == len(result.actions)
