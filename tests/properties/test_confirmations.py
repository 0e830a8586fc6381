"""The log of confirmations says what a plain dict of them would, however often it was tidied."""

from __future__ import annotations

from itertools import count

from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.confirmations import LEAST_TO_TIDY, Confirmations
from worker.pipeline.session import NOT_CONFIRMED, Session, new_session

KEYS = "abcdef"
SPAN = 200.0
confirmed = st.tuples(st.just("confirm"), st.text(KEYS, min_size=1, max_size=3), st.integers(1, LEAST_TO_TIDY))
forgotten = st.tuples(st.just("forget"), st.sampled_from(KEYS), st.just(1))


@given(st.lists(confirmed | confirmed | forgotten, max_size=20))
def test_the_session_that_was_confirmed_longest_ago_is_found(steps: list[tuple[str, str, int]]) -> None:
    log = Confirmations()
    sessions: dict[str, Session] = {}
    newest: dict[str, int] = {}  # in the order of their last confirmation
    offsets, now = count(), 0
    for step, keys, times in steps:
        for key in keys * times:
            if step == "forget":
                sessions.pop(key, new_session(("", key))).confirmed_offset = NOT_CONFIRMED
                newest.pop(key, None)
                continue
            session = sessions.setdefault(key, new_session(("", key)))
            now = next(offsets)
            session.confirmed_offset, session.confirmed_at = now, float(now)
            log.note(session)
            newest.pop(key, None)
            newest[key] = now
        assert len(log) <= 2 * len(KEYS) + LEAST_TO_TIDY
        newest = {key: offset for key, offset in newest.items() if now - offset <= SPAN}
        found = log.oldest(float(now), SPAN)
        assert (found.key[1] if found else None) == next(iter(newest), None)
        assert found is None or found is sessions[found.key[1]]
