"""How much memory does an active user take, in multiples of the text that is published for them?

Users with 18 actions in 3 sessions are inside the window: in the stages alone, in a process of their own (which then
forgets them), and in a real member, against a member that has worked off as many payloads of users who are all gone
again: clients, queues and what the allocator keeps are in both.
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
from benchmarks.subjects import CHECKOUT, SubjectFailed, member, passthrough, started
from benchmarks.topics import Broker

GONE_INTERVAL_S = 10.0  # so far apart, hardly anybody is within the retention
SETTLE_S = 1.5  # a checkpoint and its commit


def measure(broker: Broker, steps: Steps, *, users: int, rounds: int) -> Result:
    """The stages in every round, a member and a pass-through once."""
    with steps.step(f"memory: {users} users in the stages alone"):
        stages = [_stages(users) for _ in range(rounds)]
    gone, here, through = _members(broker, steps, users)
    user = _each("a user in by_user", stages, "memory_bytes")
    links = _each("a user's links in by_session", stages, "link_bytes")
    pairs = zip(user.values, links.values, strict=True)
    both = Figure("both stages", "bytes", tuple([a + b for a, b in pairs]), digits=0)
    whole = Figure("a real member beyond its base", "bytes", ((here - gone) / users,), digits=0)
    text, record = (_each(f"a user's {what}", stages[:1], f"{name}_bytes") for what, name in WRITTEN)
    ratios = [
        Figure(f"{figure.name} / {of.name}", "x", tuple([value / of.median for value in figure.values]), digits=2)
        for of in (text, record)
        for figure in (user, links, both, whole)
    ]
    resident = [
        Figure(f"resident: {name}", "MB", (value / 1e6,), digits=0)
        for name, value in (
            (f"a member with {users:,} users", here),
            ("a member whose users are gone", gone),
            ("a pass-through after as many payloads", through),
        )
    ]
    left = [
        Figure("stages, all users forgotten: objects left", "", tuple([s["objects_left"] for s in stages]), digits=0),
        _each("stages, all users forgotten: kept for each", stages, "bytes_left"),
        _each("… and after malloc_trim", stages, "bytes_left_after_trim"),
    ]
    facts: dict[str, Any] = {"users": users, "actions_per_user": 18, "sessions_per_user": 3}
    figures = (user, links, both, whole, text, record, *resident, *left)
    return Result("memory", "Memory for each active user", tuple(ratios), figures, facts)


WRITTEN = (("text", "text"), ("record", "published"))


def _each(name: str, stages: list[dict[str, int]], what: str) -> Figure:
    return Figure(name, "bytes", tuple([stage[what] / stage["users"] for stage in stages]), digits=0)


def _stages(users: int) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.stage_memory", str(users)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, check=False)
    if done.returncode:
        raise SubjectFailed(f"benchmarks.stage_memory: {done.stderr.decode(errors='replace')}")
    measured: dict[str, int] = orjson.loads(done.stdout)
    if measured["users"] != users:
        raise SubjectFailed(f"{measured['users']} of {users} users are remembered")
    return measured


def _members(broker: Broker, steps: Steps, users: int) -> tuple[int, int, int]:
    """Resident bytes of a member whose users are gone, of one whose users are here, and of a pass-through."""
    count = even_size(users)
    with steps.step(f"memory: a member without them, after {count} payloads", count) as note:
        gone = _resident(broker, users, GONE_INTERVAL_S, note)
    with steps.step(f"memory: a member with {users} users inside the window", count) as note:
        here = _resident(broker, users, WINDOW_S / count, note)
    with steps.step("memory: a pass-through", count) as note:
        through = _resident(broker, users, WINDOW_S / count, note, is_member=False)
    return gone, here, through


def _resident(broker: Broker, users: int, interval_s: float, note: Note, *, is_member: bool = True) -> int:
    run = f"bench-{uuid.uuid4().hex[:8]}"
    with broker.topic(f"{run}-in") as topic, broker.topic(f"{run}-out") as output:
        begin = time.time() - even_size(users) * interval_s
        broker.fill(topic, even_crowd(users, begin=begin, interval_s=interval_s), lambda _count: None)
        if is_member:
            settings = {"publish_interval_ms": 1000, "expire_idle_users": "false"}
            subject = member("member", broker.bootstrap_servers, topic, **settings)
        else:
            subject = passthrough("pass-through", broker.bootstrap_servers, (topic, output))
        try:
            with started(subject) as running:
                work_off(broker, running, even_size(users), note)
                time.sleep(SETTLE_S)
                rss_bytes = running.usage.rss_bytes
                running.stop()
            return rss_bytes
        finally:
            broker.delete(subject.own_topics, subject.group_id)
