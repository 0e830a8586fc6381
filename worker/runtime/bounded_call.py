"""A call into the client that may not come back, although it was given a time."""

from __future__ import annotations

import threading
from collections.abc import Callable

GRACE_S = 2.0  # beyond the time that the call was given itself


class NeverReturned(Exception):
    """The call is still on its way, and for ever, for all that is known."""


def bounded_call(call: Callable[[], None], timeout_s: float) -> None:
    """Make the call in a thread of its own and wait for it; what it raises is raised here.

    Raises:
        NeverReturned: it did not come back in time. What it works on must not be touched any more.
    """
    raised: list[BaseException] = []

    def make() -> None:
        try:
            call()
        except BaseException as exc:  # noqa: BLE001 - it is raised again where it belongs
            raised.append(exc)

    thread = threading.Thread(target=make, name="bounded call", daemon=True)
    thread.start()
    thread.join(timeout_s + GRACE_S)
    if thread.is_alive():
        raise NeverReturned
    if raised:
        raise raised[0]
