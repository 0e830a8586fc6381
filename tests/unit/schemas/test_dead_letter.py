"""The headers of a dead letter, written and read back."""

from __future__ import annotations

import pytest

from schemas.dead_letter import DeadLetter, Header, own_headers, retries_of, retry_headers

LETTER = DeadLetter(
    reason="wrong_type",
    field="actions[0].title",
    source_topic="autoplay.actions",
    source_partition=3,
    source_offset=8123,
    source_timestamp_ms=1712345678900,
    software_version="0.1.0",
)
OWN: list[Header] = [("trace", b"\xff\x00"), ("trace", b"again"), ("empty", None), ("dlq.theirs", b"x")]


def test_headers_say_why_and_where_from() -> None:
    assert LETTER.to_headers() == [
        ("dlq.reason", b"wrong_type"),
        ("dlq.field", b"actions[0].title"),
        ("dlq.source.topic", b"autoplay.actions"),
        ("dlq.source.partition", b"3"),
        ("dlq.source.offset", b"8123"),
        ("dlq.source.timestamp", b"1712345678900"),
        ("dlq.software.version", b"0.1.0"),
    ]


def test_what_was_written_is_read_back() -> None:
    without_timestamp = DeadLetter("not_json", "", "t", 0, 0, None, "0.1.0")
    without_value = DeadLetter("too_large", "", "t", 0, 0, 5, "0.1.0", value_omitted_bytes=3_000_000)
    retried = DeadLetter("not_json", "", "t", 0, 0, 5, "0.1.0", retries=12)
    for letter in (LETTER, without_timestamp, without_value, retried):
        assert DeadLetter.from_headers(letter.to_headers(OWN)) == letter


def test_the_records_own_headers_stay_as_they_were_and_come_first() -> None:
    headers = LETTER.to_headers(OWN)
    assert headers[: len(OWN)] == OWN
    assert own_headers(headers) == OWN


def test_a_second_failure_replaces_the_headers_of_the_first() -> None:
    again = DeadLetter("not_json", "", "autoplay.actions", 1, 2, None, "0.2.0")
    first = DeadLetter("too_large", "", "autoplay.actions", 1, 1, 7, "0.1.0", value_omitted_bytes=9)
    headers = again.to_headers(first.to_headers(OWN))
    assert headers == again.to_headers(OWN)
    assert DeadLetter.from_headers(headers) == again


def test_a_text_that_is_no_unicode_is_written_all_the_same() -> None:
    letter = DeadLetter("not_json", "\ud800", "t", 0, 0, None, "0.1.0")
    assert ("dlq.field", b"\\ud800") in letter.to_headers()


@pytest.mark.parametrize(
    "headers",
    [
        [],
        OWN,
        [("dlq.reason", b"not_json")],
        [header if header[0] != "dlq.source.offset" else ("dlq.source.offset", b"x") for header in LETTER.to_headers()],
        [header if header[0] != "dlq.source.offset" else ("dlq.source.offset", None) for header in LETTER.to_headers()],
    ],
)
def test_headers_of_something_else_are_no_dead_letter(headers: list[Header]) -> None:
    assert DeadLetter.from_headers(headers) is None


def test_headers_that_are_no_unicode_are_read_all_the_same() -> None:
    headers = [(name, b"\xff" if name == "dlq.field" else value) for name, value in LETTER.to_headers()]
    read = DeadLetter.from_headers(headers)
    assert read is not None
    assert read.field == "\ufffd"


def test_a_retry_has_the_records_own_headers_and_one_more_in_the_count() -> None:
    first = retry_headers(LETTER.to_headers(OWN))
    assert first == [*OWN, ("dlq.retries", b"1")]
    failed_again = DeadLetter("not_json", "", "t", 0, 9, None, "0.1.0", retries=retries_of(first))
    assert retry_headers(failed_again.to_headers(first)) == [*OWN, ("dlq.retries", b"2")]


@pytest.mark.parametrize("value", [None, b"", b"-1", b"x", b"1.5", b"9" * 5000, "²".encode()])
def test_a_count_that_is_none_of_ours_is_never(value: bytes | None) -> None:
    assert retries_of([("dlq.retries", value)]) == 0
