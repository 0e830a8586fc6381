"""Which transactions are over, by the coordinator's log."""

from __future__ import annotations

import struct

from tests.acceptance.records import Record
from tests.chaos.hanging import undecided


def state(name: str, status: int) -> Record:
    key = struct.pack(">hh", 0, len(name)) + name.encode()
    return Record(0, 0, key, struct.pack(">hqhib", 1, 7, 0, 4000, status) + b"rest", (), 0)


def test_the_newest_state_of_each_counts() -> None:
    ongoing, prepare, complete, empty = 1, 2, 4, 0
    log = {
        0: [state("done", ongoing), state("done", prepare), state("done", complete)],
        1: [state("open", complete), state("open", ongoing), state("new", empty), state("ending", prepare)],
    }
    assert undecided(log) == ["ending", "open"]
