"""The short selection; `make chaos` runs all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.cluster import SmallDisk
from tests.chaos.scenario import SCENARIOS, run
from tests.chaos.world import Mode

SEED = os.environ.get("CHAOS_SEED", "1")


def test_members_and_the_broker_fail_and_everything_is_right_in_the_end(private_brokers: None, tmp_path: Path) -> None:
    outcome = run(SCENARIOS["short"], Mode(), SEED, tmp_path)
    assert not outcome.wrong, str(outcome)


def test_a_small_disk_takes_nothing_when_it_is_full(small_disk: SmallDisk) -> None:
    there = small_disk.path / "there"
    small_disk.fill()
    with pytest.raises(OSError, match="No space left"):
        there.write_bytes(bytes(100_000))
    small_disk.free()
    assert there.write_bytes(bytes(100_000)) == 100_000
