"""Who waits is found in time, and never lost."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from worker.context.session_memory import NEVER
from worker.pipeline.deadlines import Deadlines

times = st.integers(0, 40).map(lambda quarter: 1e9 + quarter / 4) | st.just(NEVER)


@given(st.lists(st.tuples(times, st.lists(times, max_size=4)), max_size=20))
def test_who_is_due_comes_out_once_and_nobody_more_than_a_second_early(turns: list[tuple[float, list[float]]]) -> None:
    deadlines = Deadlines()
    waiting: Counter[float] = Counter()
    for clock, added in turns:
        for deadline in added:
            deadlines.add(deadline, str(deadline))
            waiting[deadline] += 1
        due = Counter(map(float, deadlines.pop(clock)))
        assert due <= waiting
        waiting -= due
        assert all(deadline >= clock for deadline in waiting)
        assert all(deadline < clock + 1 for deadline in due)
        assert len(deadlines) == waiting.total()


def test_who_is_added_again_within_the_second_waits_for_their_own_time() -> None:
    deadlines = Deadlines()
    deadlines.add(10.7, "early")
    assert deadlines.pop(10.5) == ["early"]
    deadlines.add(10.7, "early")
    assert deadlines.pop(10.7) == []
    assert deadlines.pop(10.8) == ["early"]
