"""Who answers, from the statistics that librdkafka gives of itself once a second: nothing has to be asked for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

_NO_OFFSET = 0  # below it, the client has no answer for the partition since its leader changed


@dataclass(frozen=True, slots=True)
class Liveness:
    """The partitions of one topic, by number, as the client sees them."""

    count: int  # how many the topic has, as far as the client knows; 0 = unknown
    idle_s: dict[int, float]  # served: how long ago the leader was last heard
    unserved: frozenset[int]  # the leader answers, but not for this partition


def liveness(statistics: str, topic: str) -> Liveness:
    """Read the JSON that `stats_cb` is given."""
    document: dict[str, Any] = orjson.loads(statistics)
    idle_s = {
        broker["nodeid"]: broker["rxidle"] / 1e6
        for broker in document["brokers"].values()
        if broker["state"] == "UP" and broker["rxidle"] >= 0
    }
    shown = document["topics"].get(topic, {}).get("partitions", {})
    partitions = {int(name): partition for name, partition in shown.items() if int(name) >= 0}
    led = {number: partition for number, partition in partitions.items() if partition["leader"] in idle_s}
    served = {number: idle_s[one["leader"]] for number, one in led.items() if one["hi_offset"] >= _NO_OFFSET}
    return Liveness(max(partitions, default=-1) + 1, served, frozenset(led.keys() - served.keys()))
