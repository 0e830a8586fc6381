"""How much memory does an active user take, and in multiples of the bytes published for them?

Users with 18 actions in 3 sessions are inside the window: in the stages alone, in a process of their own, and in a real
member, against a member that has worked off as many payloads of users who are all gone again: clients, queues and
what the allocator keeps are in both.
"""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from typing import Any

import orjson

from benchmarks.backlog import work_off
from benchmarks.figures import Figure, Result
from benchmarks.load import even_crowd, even_size
from benchmarks.progress import Note, Steps
from benchmarks.stage_memory import WINDOW_S
from benchmarks.subjects import CHECKOUT, SubjectFailed, member, started
from benchmarks.topics import Broker

GONE_INTERVAL_S = 10.0  # so far apart, hardly anybody is within the retention
SETTLE_S = 1.5  # a checkpoint and its commit


def measure(broker: Broker, steps: Steps, *, users: int, rounds: int) -> Result:
    """The stages in every round, the member once."""
    with steps.step(f"memory: {users} users in the stages alone"):
        stages = [_stages(users) for _ in range(rounds)]
    published = stages[0]["published_bytes"] / users
    member_bytes = _member_bytes(broker, steps, users) / users
    user = Figure("a user in by_user", "bytes", tuple([stage["memory_bytes"] / users for stage in stages]), digits=0)
    links = Figure("a user's links in by_session", "bytes", tuple([s["link_bytes"] / users for s in stages]), digits=0)
    both = Figure(
        "both stages", "bytes", tuple([a + b for a, b in zip(user.values, links.values, strict=True)]), digits=0
    )
    whole = Figure("a real member beyond its base", "bytes", (member_bytes,), digits=0)
    ratios = [_over(figure, published) for figure in (user, both, whole)]
    record = Figure("a user's record", "bytes", (published,), digits=0)
    facts: dict[str, Any] = {"users": users, "actions_per_user": 18, "sessions_per_user": 3}
    return Result("memory", "Memory for each active user", tuple(ratios), (user, links, both, whole, record), facts)


def _over(figure: Figure, published: float) -> Figure:
    return Figure(
        f"{figure.name} / bytes published", "x", tuple([value / published for value in figure.values]), digits=2
    )


def _stages(users: int) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.stage_memory", str(users)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False)
    if done.returncode:
        raise SubjectFailed(f"benchmarks.stage_memory: {done.stderr.decode(errors='replace')}")
    measured: dict[str, int] = orjson.loads(done.stdout)
    if measured["users"] != users:
        raise SubjectFailed(f"{measured['users']} of {users} users are remembered")
    return measured


def _member_bytes(broker: Broker, steps: Steps, users: int) -> int:
    """What a real member holds for users who are here, beyond what it holds when they are gone."""
    with steps.step(f"memory: a member without them, after {even_size(users)} payloads", even_size(users)) as note:
        gone = _resident(broker, users, GONE_INTERVAL_S, note)
    with steps.step(f"memory: a member with {users} users inside the window", even_size(users)) as note:
        here = _resident(broker, users, WINDOW_S / even_size(users), note)
    return here - gone


def _resident(broker: Broker, users: int, interval_s: float, note: Note) -> int:
    with broker.topic(f"bench-{uuid.uuid4().hex[:8]}-in") as topic:
        begin = time.time() - even_size(users) * interval_s
        broker.fill(topic, even_crowd(users, begin=begin, interval_s=interval_s), lambda _count: None)
        subject = member("member", broker.bootstrap_servers, topic, publish_interval_ms=1000, expire_idle_users="false")
        try:
            with started(subject) as running:
                work_off(broker, running, even_size(users), note)
                time.sleep(SETTLE_S)
                rss_bytes = running.usage.rss_bytes
                running.stop()
            return rss_bytes
        finally:
            broker.delete(subject.own_topics, subject.group_id)
