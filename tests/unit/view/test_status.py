"""The status is computed from facts, and the whole is as good as the least of its parts."""

from __future__ import annotations

import pytest

from worker.view.status import BEHIND_S, SILENT_S, PartitionFacts, ViewStatus, status_of

NOW = 1000.0


def sound() -> PartitionFacts:
    return PartitionFacts(loaded=True, at_end=True, behind_since=0.0, heard_at=NOW)


def test_without_partitions_it_is_loading() -> None:
    assert status_of([], NOW, failed=False) is ViewStatus.LOADING


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (sound(), ViewStatus.CAUGHT_UP),
        (PartitionFacts(heard_at=NOW), ViewStatus.LOADING),
        (PartitionFacts(loaded=True, behind_since=NOW - BEHIND_S / 2, heard_at=NOW), ViewStatus.CAUGHT_UP),
        (PartitionFacts(loaded=True, behind_since=NOW - BEHIND_S, heard_at=NOW), ViewStatus.DEGRADED),
        (PartitionFacts(loaded=True, at_end=True, heard_at=NOW - SILENT_S), ViewStatus.DEGRADED),
        (PartitionFacts(loaded=True, at_end=True, heard_at=NOW, reloading=True), ViewStatus.DEGRADED),
    ],
)
def test_the_least_partition_decides(other: PartitionFacts, expected: ViewStatus) -> None:
    assert status_of([sound(), other], NOW, failed=False) is expected


def test_an_error_beats_everything() -> None:
    assert status_of([sound()], NOW, failed=True) is ViewStatus.FAILED
