"""Hypothesis for all property tests: bounded and the same every time. HYPOTHESIS_PROFILE=thorough searches for long.

No deadline, because a busy machine is no finding.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from worker.pipeline import by_user, large_records

settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=3000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="module", autouse=True)
def large_records_are_small() -> Iterator[None]:
    """A trace has some records that are large, and more users with one than may keep texts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(by_user, "LARGE_RECORD_BYTES", 400)
        patch.setattr(large_records, "MOST_USERS", 2)
        yield
