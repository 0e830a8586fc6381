"""A reader of a topic of user records, in a process of its own: `benchmarks.view_reader KIND SERVERS TOPIC COUNT`.

KIND is `view`, or what it is compared with: `bytes` keeps each value as it came and looks at nothing, `decoded` keeps
pydantic's models. Prints one JSON object: seconds and CPU seconds from the first poll until COUNT users are held, the
resident bytes they take, and for the view, microseconds of CPU for a `get` and an `enrich`.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable

import orjson

from benchmarks.process_meter import usage_of
from benchmarks.topics import Broker
from schemas.user_context import UserContext
from worker.view import UserContextView

READS = 5000
READY_S = 300.0


def measure(kind: str, servers: str, topic: str, count: int) -> dict[str, float]:
    """Read the topic once; what was read is held until the end."""
    gc.collect()
    base, cpu_s, began = usage_of(os.getpid()).rss_bytes, time.process_time(), time.monotonic()
    reads: dict[str, float] = {}
    if kind == "view":
        with UserContextView(servers, topic, clock=lambda: 0.0) as view:
            view.wait_ready(READY_S)
            measured = _taken(base, cpu_s, began, view.stats.users)
            users = [f"user_{number % count:06d}" for number in range(READS)]
            reads = {"get_us": _us_per_call(view.get, users), "enrich_us": _us_per_call(_enrich(view), users)}
    else:
        make: Callable[[bytes], object] = UserContext.model_validate_json if kind == "decoded" else bytes
        held = {message.key(): make(message.value() or b"") for message in Broker(servers).read(topic)}
        measured = _taken(base, cpu_s, began, len(held))
    return measured | reads


def _taken(base: int, cpu_s: float, began: float, users: int) -> dict[str, float]:
    wall_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_s
    gc.collect()
    return {"users": users, "wall_s": wall_s, "cpu_s": cpu_s, "rss_bytes": usage_of(os.getpid()).rss_bytes - base}


def _enrich(view: UserContextView) -> Callable[[str], str]:
    return lambda user_id: view.enrich(user_id, "How do I add a seat?")


def _us_per_call(read: Callable[[str], object], users: list[str]) -> float:
    began = time.thread_time()
    for user_id in users:
        if not read(user_id):
            raise AssertionError(f"nothing is known of {user_id}")
    return 1e6 * (time.thread_time() - began) / len(users)


if __name__ == "__main__":
    _, subject, bootstrap_servers, of_topic, expected = sys.argv
    sys.stdout.write(orjson.dumps(measure(subject, bootstrap_servers, of_topic, int(expected))).decode())
