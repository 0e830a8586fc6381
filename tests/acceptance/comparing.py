"""What the output topic says, beside what the oracle says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tests.acceptance.oracle import OracleSettings, partition_of
from tests.acceptance.records import Record
from tests.acceptance.topic_log import newest_by_key

Users = dict[str, dict[str, Any] | None]


def newest_records(log: Mapping[int, Iterable[Record]], partitions: int) -> Users:
    """The newest record of every user on the output topic; None = a tombstone."""
    users: Users = {}
    for key, record in newest_by_key(log).items():
        assert key is not None
        user_id = key.decode()
        home = partition_of(user_id, OracleSettings(repartition_partitions=partitions))
        assert record.partition == home, "co-partitioned with Java producers"
        users[user_id] = None if record.value is None else json.loads(record.value)
    return users


def newest_visitors(log: Mapping[int, Iterable[Record]], partitions: int, expected: Users) -> Users:
    """The newest record of every session id that the oracle speaks of, without what it does not say."""
    found = newest_records(log, partitions)
    for record in found.values():
        if record is not None and not record["sessions"]:
            del record["updated_at"], record["expires_at"]
    return {session_id: record for session_id, record in found.items() if session_id in expected}


def differences(expected: Users, found: Users) -> list[str]:
    """A line for every user whose record is not the oracle's, field by field but for the version.

    A user without context may be absent.
    """
    said = {user_id: without_version(record) for user_id, record in found.items()}
    wrong = [
        f"{user_id!r}\n  expected {record}\n  got      {said.get(user_id)}"
        for user_id, record in expected.items()
        if said.get(user_id) != record
    ]
    wrong += [f"{user_id!r} was never named in the input" for user_id in sorted(found.keys() - expected.keys())]
    return wrong


def without_version(record: dict[str, Any] | None) -> dict[str, Any] | None:
    """A record without the one field that depends on what a crash repeats."""
    return None if record is None else {name: value for name, value in record.items() if name != "version"}
