"""The short selection; `make chaos` runs all of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.cluster import SmallDisk
from tests.chaos.scenario import MOMENT, SCENARIOS, Scenario, run
from tests.chaos.schedule import Deck
from tests.chaos.world import Mode, Size

SEED = os.environ.get("CHAOS_SEED", "1")


def test_members_and_the_broker_fail_and_everything_is_right_in_the_end(private_brokers: None, tmp_path: Path) -> None:
    outcome = run(SCENARIOS["short"], Mode(), SEED, tmp_path)
    assert not outcome.wrong, str(outcome)
    assert not (tmp_path / "broker-1").exists(), "what is right may be forgotten"


def test_of_a_run_that_went_wrong_everything_is_kept(private_brokers: None, tmp_path: Path) -> None:
    without_a_disk_to_fill = Scenario("broken", Size(members=1), Deck({"disk full": MOMENT}))
    outcome = run(without_a_disk_to_fill, Mode(), SEED, tmp_path)
    assert list(outcome.wrong) == ["the run"]
    assert "started: group" in (tmp_path / "member-0.log").read_text()
    assert (tmp_path / "broker-1" / "broker.log").is_file()
    assert (tmp_path / "broker-1" / "data" / "input-0" / "00000000000000000000.log").is_file()


def test_a_small_disk_takes_nothing_when_it_is_full(small_disk: SmallDisk) -> None:
    there = small_disk.path / "there"
    small_disk.fill()
    with pytest.raises(OSError, match="No space left"):
        there.write_bytes(bytes(100_000))
    small_disk.free()
    assert there.write_bytes(bytes(100_000)) == 100_000
