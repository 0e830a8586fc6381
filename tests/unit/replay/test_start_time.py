"""From when a replay begins."""

from __future__ import annotations

import pytest

from worker.errors import ExitCode, Fatal
from worker.replay.start_time import BEGINNING, latest_start, start_time
from worker.settings import Settings

NOW = 1_712_345_678.0
SETTINGS = Settings(lookback_seconds=10, max_clock_skew_s=3, expire_idle_users=False)
EXPIRING = Settings(lookback_seconds=10, max_clock_skew_s=3, expire_idle_users=True)


@pytest.mark.parametrize("text", ["beginning", " Beginning "])
def test_the_beginning_is_before_every_time(text: str) -> None:
    assert start_time(text, NOW) == BEGINNING
    assert start_time("2h", NOW) > BEGINNING


def test_a_start_is_a_time_or_a_span_before_now() -> None:
    assert start_time("2h", NOW) == NOW - 7200
    assert start_time("2024-04-05T19:34:38Z", NOW) == NOW


@pytest.mark.parametrize("text", ["soon", "2099-01-01T00:00Z"])
def test_what_is_no_time_or_not_yet_is_refused(text: str) -> None:
    with pytest.raises(Fatal) as refused:
        start_time(text, NOW)
    assert refused.value.exit_code == ExitCode.USAGE
    assert refused.value.hint


def test_two_lookbacks_and_the_skew_of_the_slowest_partition_are_replayed() -> None:
    assert latest_start([NOW - 5, NOW - 500], SETTINGS, NOW) == NOW - 500 - 20 - 3


def test_users_of_a_silent_partition_that_have_expired_reach_back_no_farther() -> None:
    assert latest_start([NOW - 5, NOW - 500], EXPIRING, NOW) == NOW - 5 - 23
    assert latest_start([NOW - 500], EXPIRING, NOW) == NOW - 23
    assert latest_start([NOW - 13], EXPIRING, NOW) == NOW - 13 - 23


def test_without_any_user_known_the_clock_counts() -> None:
    assert latest_start([], SETTINGS, NOW) == NOW - 23
