"""`serve`: how many requests a second, beside `/healthz` in the same run, and how soon a thousand listeners are told?

Requests are wrk's, at full speed, for users picked at random. Then everybody listens to a stream, and records are
written to the output topic one by one: each has to be told to each of its user's listeners.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bench_view import fill_with_records
from benchmarks.figures import Figure, Result, percentile
from benchmarks.listeners import Listeners, allow_files
from benchmarks.progress import Steps
from benchmarks.subjects import Running, Subject, SubjectFailed, started
from benchmarks.topics import Broker, Feed, wait_until
from schemas import SessionContext, UserContext
from tests.brokers import free_port

HEALTH, CONTEXT, PROMPT = "/healthz", "/context", "/context with a query"
CONNECTIONS = 32
READY_S = 120.0
LISTENED_TO = 100  # users, each with a tenth of the listeners
CHANGES = 10
CHANGES_PER_S = 50.0
FIRST_VERSION = 1_000_000_000
SHARES = {"p50": 0.5, "p99": 0.99, "max": 1.0}


def measure(broker: Broker, steps: Steps, *, users: int, listeners: int, seconds: float, rounds: int) -> Result:
    """Requests by turns in every round; then the streams."""
    if shutil.which("wrk") is None:
        raise SubjectFailed("wrk is not installed (Debian: apt install wrk)")
    allow_files(2 * listeners)
    asked: dict[str, list[tuple[float, float]]] = {HEALTH: [], CONTEXT: [], PROMPT: []}
    with broker.topic(f"bench-{uuid.uuid4().hex[:8]}-context") as topic:
        with steps.step(f"serve: {users} records are made", users) as note:
            fill_with_records(broker, topic, users, note)
        with serving(broker, topic) as (running, port):
            for number in range(rounds):
                for what, of in asked.items():
                    with steps.step(f"serve: round {number + 1} of {rounds}, {what}"):
                        of.append(_wrk(port, what, users, seconds))
            rss_bytes = running.usage.rss_bytes
            with steps.step(f"serve: {listeners} listeners"):
                told_ms = asyncio.run(_listen(broker, topic, port, listeners))
            per_stream = (running.usage.rss_bytes - rss_bytes) / listeners
            running.stop()
    return _result(asked, told_ms, per_stream, {"users": users, "listeners": listeners, "connections": CONNECTIONS})


@contextmanager
def serving(broker: Broker, topic: str) -> Iterator[tuple[Running, int]]:
    """A `serve` that is ready, and its port."""
    port = free_port()
    command = (sys.executable, "-m", "worker", "serve", "--listen", f"127.0.0.1:{port}")
    settings = {"WORKER_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "WORKER_OUTPUT_TOPIC": topic}
    with started(Subject("serve", command, "", (), topic, (), settings)) as running:
        wait_until(lambda: _is_ready(running, port), "serve to be ready", timeout_s=READY_S)
        yield running, port


def _is_ready(running: Running, port: int) -> bool:
    running.check()
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def _wrk(port: int, what: str, users: int, seconds: float) -> tuple[float, float]:
    """Requests a second, and the 99th percentile in milliseconds.

    Raises:
        SubjectFailed: something was answered with an error.
    """
    asked = "/context?user_id=user_%06d" + ("&query=How+do+I+add+a+seat" if what == PROMPT else "")
    path = f'"{HEALTH}"' if what == HEALTH else f'string.format("{asked}", math.random(0, {users - 1}))'
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        Path(script.name).write_text(f'request = function() return wrk.format("GET", {path}) end\n')
        command = ["wrk", "--latency", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", script.name]
        done = subprocess.run([*command, f"http://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    return read_wrk(done.stdout)


def read_wrk(text: str) -> tuple[float, float]:
    """Requests a second and the 99th percentile in milliseconds, out of what wrk says."""
    if "Non-2xx" in text or "Socket errors" in text:
        raise SubjectFailed(f"wrk: not every request was answered\n{text}")
    slow, rate = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text), re.search(r"Requests/sec:\s+([\d.]+)", text)
    if slow is None or rate is None:
        raise SubjectFailed(f"wrk said something else\n{text}")
    return float(rate[1]), float(slow[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[slow[2]]


async def _listen(broker: Broker, topic: str, port: int, count: int) -> list[float]:
    """Milliseconds from the writing of a record until each listener was told, the shortest first.

    Raises:
        TimeoutError, ConnectionError: somebody was not told.
    """
    listeners = Listeners("127.0.0.1", port, [f"listened_{number % LISTENED_TO}" for number in range(count)])
    feed, written = Feed(broker.bootstrap_servers, topic, linger_ms=0), dict[tuple[str, int], float]()
    listening = asyncio.create_task(listeners.until(FIRST_VERSION + CHANGES - 1))
    opening = asyncio.create_task(listeners.all_open.wait())
    await asyncio.wait({listening, opening}, return_when=asyncio.FIRST_COMPLETED)
    opening.cancel()
    for version in range(FIRST_VERSION, FIRST_VERSION + CHANGES):
        for user in range(LISTENED_TO):
            user_id = f"listened_{user}"
            written[user_id, version] = time.monotonic()
            feed.send(user_id.encode(), _record(user_id, version), 0.0)
            await asyncio.sleep(1 / CHANGES_PER_S / LISTENED_TO * CHANGES)
    await listening
    feed.flush()
    return sorted(
        1000 * (at - written[one.user_id, version]) for one in listeners.crowd for version, at in one.versions.items()
    )


def _record(user_id: str, version: int) -> bytes:
    now = time.time()
    sessions = (SessionContext(session_id="s", last_seen_at=now, action_count=1, context="Recent activity:\n1. a"),)
    context = UserContext(user_id=user_id, version=version, updated_at=now, expires_at=now + 300, sessions=sessions)
    return context.model_dump_json().encode()


def _result(
    asked: dict[str, list[tuple[float, float]]], told_ms: list[float], per_stream: float, facts: dict[str, Any]
) -> Result:
    rates = {
        what: Figure(f"{what}: requests", "1/s", tuple([rate for rate, _ in of]), digits=0)
        for what, of in asked.items()
    }
    slowest = {
        what: Figure(f"{what}: p99", "ms", tuple([slow for _, slow in of]), digits=1) for what, of in asked.items()
    }
    told = [
        Figure(f"told to a listener: {name}", "ms", (percentile(told_ms, share),)) for name, share in SHARES.items()
    ]
    events = Figure("told to a listener: events", "", (float(len(told_ms)),), digits=0)
    memory = Figure("a stream: memory", "bytes", (per_stream,), digits=0)
    ratios = [
        *(rates[what].over(rates[HEALTH], f"requests/s: {what} / {HEALTH}") for what in (CONTEXT, PROMPT)),
        *(slowest[what].over(slowest[HEALTH], f"p99: {what} / {HEALTH}") for what in (CONTEXT, PROMPT)),
    ]
    figures = (*rates.values(), *slowest.values(), *told, events, memory)
    return Result("serve", "The chat side over HTTP", tuple(ratios), figures, facts)
