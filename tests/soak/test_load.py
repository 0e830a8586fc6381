"""What a run under load is judged by."""

from __future__ import annotations

from collections import Counter

import orjson
import pytest

from tests.soak.load import AT_ONCE, STAYS, Numbered, quantile


def test_whoever_lacks_something_is_named() -> None:
    traffic = Numbered()
    users = {int(sent.key.removeprefix(b"s-")) for sent in traffic.records(2 * AT_ONCE, 0.0) if sent.key}
    assert users == set(range(AT_ONCE))
    whole = {b"u-%d" % user: orjson.dumps({"sessions": [{"context": context(0, 1)}]}) for user in users}
    assert traffic.missing(dict(whole)) == []
    lacking = {**whole, b"u-3": orjson.dumps({"sessions": [{"context": context(0)}]}), b"u-5": None}
    assert traffic.missing({user: lacking[user] for user in lacking if user != b"u-7"}) == ["u-3", "u-5", "u-7"]


def context(*numbers: int) -> str:
    return "\n".join(["Recent activity:", *(f"{at}. [{each}] click: {each} — /" for at, each in enumerate(numbers, 1))])


def test_users_come_stay_and_go() -> None:
    traffic = Numbered()
    list(traffic.records((STAYS + 1) * AT_ONCE, 0.0))
    assert traffic.sent == {**dict.fromkeys(range(AT_ONCE), STAYS), **dict.fromkeys(range(AT_ONCE, 2 * AT_ONCE), 1)}


@pytest.mark.parametrize(("share", "seconds"), [(0.5, 0.1), (0.9, 0.82), (0.25, 0.05), (1.0, 1.0)])
def test_a_quantile_lies_where_so_many_are_below(share: float, seconds: float) -> None:
    assert quantile(share, Counter({0.1: 50, 1.0: 100, float("inf"): 100})) == pytest.approx(seconds)
