"""A group of its own for every test of the commands: names on the broker, a shell, a member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.members import Member
from tests.integration.shell import PARTITIONS, Shell
from worker.kafka import Admin
from worker.settings import Settings


@pytest.fixture
def shell(kafka: str, unique: Callable[[str], str]) -> Shell:
    return Shell(
        Settings(
            bootstrap_servers=kafka,
            group_id=unique("group"),
            input_topic=unique("actions"),
            output_topic=unique("user-context"),
            dlq_topic=unique("dlq"),
        )
    )


@pytest.fixture
def admin(shell: Shell) -> Admin:
    return Admin(shell.settings)


@pytest.fixture
def member(shell: Shell, tmp_path: Path) -> Iterator[Member]:
    """A running member; the topics are there."""
    assert shell("topics", "--input-partitions", str(PARTITIONS)).returncode == 0
    one = Member("one", shell.given, tmp_path / "one.log")
    yield one
    one.terminate()
    one.wait_exit()
