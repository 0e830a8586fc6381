"""The autoplay SDK's own stores, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import autoplay_sdk.context.context_store
import autoplay_sdk.context.user_index

MODULES = (autoplay_sdk.context.context_store, autoplay_sdk.context.user_index)


@contextmanager
def sdk_clock(clock: Callable[[], float]) -> Iterator[None]:
    """The SDK has no clock of its own to be given: its modules' `time` is replaced."""
    first, second = MODULES
    fake = SimpleNamespace(time=clock)
    with patch.object(first, "time", fake), patch.object(second, "time", fake):
        yield
