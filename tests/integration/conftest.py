"""A group of its own for every test of the commands: names on the broker, a shell, a member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.members import Member
from tests.integration.guarded import Guarded, MakeGuarded
from tests.integration.running import Bench, MakeBench
from tests.integration.shell import PARTITIONS, Shell
from tests.secure_broker import SecureKafka
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


@pytest.fixture
def make_bench(kafka: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[MakeBench]:
    """`make_bench(partitions=…, **settings)`: topics and a group without members. One per test."""
    benches: list[Bench] = []

    def make(*, partitions: int = 2, bootstrap: str = kafka, **settings: object) -> Bench:
        assert not benches
        benches.append(Bench(bootstrap, unique, tmp_path, partitions=partitions, **settings))
        return benches[0]

    yield make
    for bench in benches:
        bench.group.close()
        if bench.bootstrap == kafka:
            bench.delete_topics()


@pytest.fixture
def make_guarded(secure_kafka: SecureKafka, unique: Callable[[str], str], tmp_path: Path) -> Iterator[MakeGuarded]:
    """`make_guarded(**settings)`: topics, a group without members, and who may do what there. One per test."""
    made: list[Guarded] = []

    def make(**settings: object) -> Guarded:
        assert not made
        made.append(Guarded(secure_kafka, unique, tmp_path, **settings))
        return made[0]

    yield make
    for one in made:
        one.close()
