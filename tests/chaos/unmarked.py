"""Transactions that a broker counted as ended without telling their partitions: its fault, and no client's.

Kafka 4.3 and 4.4 do that when a transaction is to be ended while its partitions have no leader (KAFKA-20734), as when
the only broker starts again after a kill: they take the partitions for deleted, and write no marker. Nobody who reads
what is committed gets past such records; and if the same producer writes there again, its next marker ends both, so
what was taken back is seen beside what replaced it. A broker that stops does it, too, but its log ends before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNMARKED = re.compile(r"find leader endpoint for partitions \w*\((.*?)\) .* transaction markers for (\S+),")


def unmarked(broker_logs: Iterable[str]) -> list[str]:
    """The transactions that brokers say they ended so. Whoever deletes no topics sees a fault in each."""
    return [f"{name}: no marker on {partitions}" for log in broker_logs for partitions, name in UNMARKED.findall(log)]
