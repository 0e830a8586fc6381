"""A call into the client that does not come back is given up, not waited for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from worker.runtime import bounded_call as module
from worker.runtime.bounded_call import NeverReturned, bounded_call


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Does not come back before the test is over."""
    monkeypatch.setattr(module, "GRACE_S", 0.05)
    over = threading.Event()

    def waits() -> None:
        over.wait(30)

    yield waits
    over.set()


def test_a_call_that_comes_back_is_as_if_made_here() -> None:
    made: list[int] = []
    bounded_call(lambda: made.append(1), 10.0)
    assert made == [1]

    def fails() -> None:
        raise LookupError("told")

    with pytest.raises(LookupError, match="told"):
        bounded_call(fails, 10.0)


def test_a_call_that_does_not_is_given_up(never: Callable[[], None]) -> None:
    with pytest.raises(NeverReturned):
        bounded_call(never, 0.0)
