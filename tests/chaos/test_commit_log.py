"""Commits as brokers write them."""

from __future__ import annotations

import struct

from tests.acceptance.records import Record
from tests.chaos.commit_log import Commit, commits_of

KEY = b"\x00\x01\x00\x05group\x00\x05topic\x00\x00\x00\x03"


def record(key: bytes, value: bytes | None) -> Record:
    return Record(0, 0, key, value, (), 0)


def test_values_of_every_version_are_read() -> None:
    old = struct.pack(">hqh3sqq", 1, 7, 3, b"abc", 1000, 2000)
    newer = struct.pack(">hqih3sq", 3, 8, -1, 3, b"abc", 1001)
    newest = struct.pack(">hqiB4sq", 4, 9, -1, 5, b"abc\0", 1002) + b"\x01\x00\x10" + bytes(16)
    long = struct.pack(">hqiBB200sq", 4, 10, -1, 0x80 | (201 & 0x7F), 201 >> 7, b"x" * 200, 1003)
    found = commits_of("group", {0: [record(KEY, value) for value in (old, newer, newest, long)]})
    assert found == [
        Commit("topic", 3, 7, "abc", 1000),
        Commit("topic", 3, 8, "abc", 1001),
        Commit("topic", 3, 9, "abc", 1002),
        Commit("topic", 3, 10, "x" * 200, 1003),
    ]


def test_what_is_no_commit_of_the_group_is_passed_over() -> None:
    group_metadata = b"\x00\x02\x00\x05group"
    other_group = KEY.replace(b"group", b"grouq")
    value = struct.pack(">hqih3sq", 3, 8, -1, 3, b"abc", 1001)
    log = {0: [record(group_metadata, b""), record(other_group, value), record(KEY, None)]}
    assert commits_of("group", log) == []
