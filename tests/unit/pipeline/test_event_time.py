"""When a payload happened, and how far the stream has come."""

from __future__ import annotations

import pytest

from worker.pipeline.event_time import event_time

NOW = 1000.0
SKEW = 60.0


def test_forwarded_at_is_the_event_time() -> None:
    assert event_time(990.0, 995.0, NOW, SKEW) == (990.0, 990.0, False)


@pytest.mark.parametrize("forwarded_at", [None, 0.0, -1.0, 1712345678000.0, NOW + 86400])
def test_what_is_not_to_be_believed_gives_way_to_the_records_timestamp(forwarded_at: float | None) -> None:
    assert event_time(forwarded_at, 995.0, NOW, SKEW) == (995.0, 995.0, True)


def test_a_little_ahead_is_believed_but_moves_stream_time_no_further_than_the_timestamp() -> None:
    assert event_time(995.0 + SKEW, 995.0, NOW, SKEW) == (1055.0, 995.0, False)
    assert event_time(995.5 + SKEW, 995.0, NOW, SKEW) == (995.0, 995.0, True)


def test_a_timestamp_ahead_of_the_wall_clock_counts_as_the_wall_clock() -> None:
    assert event_time(None, 5000.0, NOW, SKEW) == (NOW, NOW, True)
    assert event_time(5000.0, 5000.0, NOW, SKEW) == (NOW, NOW, True)
    assert event_time(1030.0, 5000.0, NOW, SKEW) == (1030.0, NOW, False)


def test_a_record_without_a_timestamp_has_the_wall_clock() -> None:
    assert event_time(None, None, NOW, SKEW) == (NOW, NOW, True)
    assert event_time(990.0, None, NOW, SKEW) == (990.0, 990.0, False)
