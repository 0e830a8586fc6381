"""Where a user's address goes, and that it can be kept out of everything that is written."""

from __future__ import annotations

import pytest

from worker.settings import Settings
from worker.testing import Record, TopologyDriver

ADDRESS = "alice@example.com"


def records_of(driver: TopologyDriver) -> list[bytes]:
    """Every byte that was written, but for the dead letters."""
    written: list[Record] = [*driver.repartition, *driver.output]
    return [
        part for record in written for part in (record.key or b"", record.value or b"", repr(record.headers).encode())
    ]


def driven(settings: Settings) -> TopologyDriver:
    """One payload that is held until its user is known, one that names them, and one that cannot be read."""
    driver = TopologyDriver(settings, partitions=1)
    now = driver.clock.wall()
    actions = [{"type": "click", "description": "Saved", "canonical_url": "/", "index": 0}]
    payload = {"session_id": "s", "email": ADDRESS, "forwarded_at": now, "actions": actions}
    driver.pipe(payload)
    driver.pipe(payload | {"user_id": "alice"})
    driver.pipe({"session_id": "s", "email": ADDRESS, "actions": "no list"})
    driver.process()
    return driver


def test_an_address_goes_from_the_payload_into_the_record() -> None:
    driver = driven(Settings())
    context = driver.context("alice")
    assert context is not None
    assert context.email == ADDRESS
    assert any(ADDRESS.encode() in part for part in records_of(driver))


def test_without_include_email_no_address_is_written_to_any_topic() -> None:
    driver = driven(Settings(include_email=False))
    context = driver.context("alice")
    assert context is not None
    assert (context.email, context.sessions[0].action_count) == (None, 2)
    assert not [part for part in records_of(driver) if ADDRESS.encode() in part]


@pytest.mark.parametrize("include_email", [True, False])
def test_a_dead_letter_is_what_was_received(include_email: bool) -> None:
    (letter,) = driven(Settings(include_email=include_email)).dead_letters
    assert ADDRESS.encode() in (letter.value or b"")
    assert ADDRESS not in repr(letter.headers)
