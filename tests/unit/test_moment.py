"""A point in time as people name it."""

from __future__ import annotations

import time

import pytest

from worker.errors import ExitCode, Fatal
from worker.moment import moment

NOW = 1_712_345_678.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("15m", 900), ("15min", 900), ("2h30m", 9000), ("2h 30m", 9000), ("3d", 259_200), ("1.5h", 5400)],
)
def test_a_span_is_so_long_ago(text: str, seconds: float) -> None:
    assert moment(text, NOW) == NOW - seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1712345678", NOW),
        (" 1712345678.5 ", NOW + 0.5),
        ("2024-04-05T19:34:38Z", NOW),
        ("2024-04-05T21:34:38+02:00", NOW),
        ("2024-04-05T19:34:38.900Z", NOW + 0.9),
    ],
)
def test_a_time_is_that_time(text: str, expected: float) -> None:
    assert moment(text, NOW) == expected


def test_a_time_without_a_zone_is_of_this_machine() -> None:
    assert moment("2024-04-05 19:34", NOW) == time.mktime((2024, 4, 5, 19, 34, 0, -1, -1, -1))


@pytest.mark.parametrize(
    "text", ["", "soon", "15", "15x", "h", "15m ago", "2024-13-05", "-15m", "1h-2m", "1712345678900"]
)
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(Fatal, match="no point in time") as refused:
        moment(text, NOW)
    assert refused.value.exit_code == ExitCode.USAGE
    assert "15m" in refused.value.hint
