"""A chat layer in Java may co-partition its join: its client and ours put every user into the same partition."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.brokers import RECIPE
from worker.kafka import murmur2
from worker.partitioner import partition_of

COUNTS = (1, 7, 64)
ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789-_@.:/ äß€🦊"


def user_ids() -> list[str]:
    """1,000 ids of every length modulo 4, some with characters of several bytes."""
    draw = random.Random(1)
    return [f"{number}-" + "".join(draw.choices(ALPHABET, k=draw.randrange(24))) for number in range(1000)]


def test_javas_partitioner_and_ours_agree(java_kafka: Path) -> None:
    ids = user_ids()
    command = ["java", "-cp", f"{java_kafka}/*", str(RECIPE / "Partitions.java"), *map(str, COUNTS)]
    keys = "".join(f"{user_id}\n" for user_id in ids)
    done = subprocess.run(command, input=keys.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    java = [[int(partition) for partition in line.split()] for line in done.stdout.splitlines()]
    assert java == [[partition_of(user_id.encode(), count) for count in COUNTS] for user_id in ids]
    assert java == [[murmur2(user_id.encode(), count) for count in COUNTS] for user_id in ids]
