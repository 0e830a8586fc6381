"""`serve` as a process on a real broker: answers, streams, guards, erasing, and how it starts and ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from tests.acceptance.members import Member, environment
from tests.brokers import CHECKOUT, free_port
from tests.integration.shell import Shell, create, wait_until
from tests.integration.test_view import Writer
from tests.payloads import payload
from worker import ActionsPublisher
from worker.errors import ExitCode
from worker.kafka import Admin

READ, ADMIN = "read-" + "r" * 20, "admin-" + "a" * 20
AS_READER, AS_ADMIN = {"Authorization": f"Bearer {READ}"}, {"Authorization": f"Bearer {ADMIN}"}
STREAMS = 100


class Served:
    """One `serve`, and a client of it."""

    def __init__(self, shell: Shell, log: Path, more: Mapping[str, str], *flags: str) -> None:
        self.log_path = log
        port = free_port()
        clean = {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker", "serve", "--listen", f"127.0.0.1:{port}", *flags],
                cwd=CHECKOUT,
                env=clean | environment(shell.given) | dict(more),
                stderr=out,
            )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def get(self, user_id: str, **more: str) -> httpx.Response:
        return self.client.get("/context", params={"user_id": user_id, **more}, headers=AS_READER)

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(20)


@pytest.fixture
def serving(shell: Shell, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(*flags: str, **more: str) -> Served:
        started.append(Served(shell, tmp_path / f"{len(started)}.log", more, *flags))
        wait_until(started[-1].is_ready, "it is ready")
        return started[-1]

    yield start
    for one in started:
        one.client.close()
        one.process.kill()
        one.process.wait()


def events(response: httpx.Response) -> Iterator[dict[str, Any] | None]:
    """The data of each event."""
    for line in response.iter_lines():
        if line.startswith("data: "):
            yield orjson.loads(line.removeprefix("data: "))


def test_a_chat_service_asks_listens_and_erases(
    shell: Shell, member: Member, serving: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(READ + "\n")
    served = serving(WORKER_READ_TOKEN_FILE=str(tmp_path / "token"), WORKER_ADMIN_TOKEN=ADMIN)
    user = "ann/ü 🦊"
    assert served.get(user).status_code == 404
    with served.client.stream("GET", "/stream", params={"user_id": user}, headers=AS_READER) as response:
        told = events(response)
        assert next(told) is None
        with ActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
            publisher.add(payload("opened Billing", session="s", user=user, at=time.time()))
        first = next(told)
        assert first is not None
        assert "opened Billing" in first["activity"]
        answer = served.get(user, query="How?").json()
        assert answer["enriched_query"] == f"[Session context]\n{answer['activity']}\n\n[Query]\nHow?"
        assert answer["sessions"] == first["sessions"]
        assert served.client.post("/admin/reset", params={"user_id": user}, headers=AS_READER).status_code == 401
        written = served.client.post("/admin/reset", params={"user_id": user}, headers=AS_ADMIN)
        assert written.status_code == 202
        assert written.json()["topic"] == shell.settings.repartition_topic
        assert next(told) is None
    assert served.get(user).status_code == 404
    assert "opened Billing" not in shell("user", user).stdout.decode()
    assert served.end() == 0
    for secret in (READ, ADMIN, user, "Billing", "ann"):
        assert secret not in served.log


def test_neither_a_shared_session_nor_a_shared_session_id_leaks(
    shell: Shell, member: Member, serving: Callable[..., Served]
) -> None:
    """Two people at one screen, and two products that count their sessions alike: by answer, prompt and stream."""
    served = serving()
    whose = (("ann", "acme"), ("bob", "acme"), ("ann", "beta"))
    with ExitStack() as stack:
        streams = {
            (user, product): stack.enter_context(
                served.client.stream("GET", "/stream", params={"user_id": user, "product_id": product})
            )
            for user, product in whose
        }
        told = {who: events(response) for who, response in streams.items()}
        assert [next(one) for one in told.values()] == [None] * 3
        with ActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
            for number in range(10):
                for user, product in whose:
                    text = f"[{user} in {product} {number}]"
                    publisher.add(payload(text, session="shared", product=product, user=user, at=time.time()))
        for (user, product), one in told.items():
            answer = next(
                event for event in one if event is not None and f"[{user} in {product} 9]" in event["activity"]
            )
            asked = served.get(user, product_id=product, query="How?").json()
            for text in (answer["activity"], asked["activity"], asked["enriched_query"]):
                assert text.count(f"[{user} in {product} ") == text.count("[" + user) == text.count(" in ") == 10
    assert "[ann" not in served.get("bob").text
    assert "[bob" not in served.get("ann").text


def test_many_streams_lose_nothing(shell: Shell, admin: Admin, serving: Callable[..., Served]) -> None:
    create(admin, shell.settings.output_topic)
    writer = Writer(shell.settings)
    served = serving(WORKER_READ_TOKEN=READ)
    newest: dict[int, int] = {}
    opened = threading.Semaphore(0)

    def listen(number: int) -> None:
        with (
            served_client(served) as client,
            client.stream("GET", "/stream", params={"user_id": f"u{number % 10}"}, headers=AS_READER) as response,
        ):
            for event in events(response):
                if event is None:
                    opened.release()
                    continue
                newest[number] = event["version"]
                if event["version"] == 5:
                    return

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(STREAMS)]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert opened.acquire(timeout=30)
    for version in range(1, 6):
        for user in range(10):
            writer.write(f"u{user}", version)
        writer.flush()
    for thread in threads:
        thread.join(30)
    assert newest == dict.fromkeys(range(STREAMS), 5)
    wait_until(lambda: "http_streams 0.0" in served.client.get("/metrics").text, "no stream is left open")


def served_client(served: Served) -> httpx.Client:
    return httpx.Client(base_url=served.client.base_url, timeout=30)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_its_streams(
    shell: Shell, admin: Admin, serving: Callable[..., Served], number: int
) -> None:
    create(admin, shell.settings.output_topic)
    served = serving()
    with ExitStack() as stack:
        responses = [
            stack.enter_context(served.client.stream("GET", "/stream", params={"user_id": "u"})) for _ in range(3)
        ]
        told = [events(response) for response in responses]
        assert [next(one) for one in told] == [None] * 3
        began = time.monotonic()
        assert served.end(number) == 0
        assert time.monotonic() - began < 5
        assert [list(one) for one in told] == [[]] * 3


def test_it_answers_before_there_is_a_topic(shell: Shell, admin: Admin, tmp_path: Path) -> None:
    served = Served(shell, tmp_path / "log", {})
    try:
        wait_until(lambda: "listening" in served.log, "it listens")
        wait_until(lambda: answers(served), "it answers")
        assert served.client.get("/context/u").json() == {"detail": "the view is loading"}
        create(admin, shell.settings.output_topic)
        Writer(shell.settings).flush()
        wait_until(served.is_ready, "it is ready")
        assert served.end() == 0
    finally:
        served.client.close()
        served.process.kill()
        served.process.wait()


def test_what_can_never_work_ends_it_with_its_exit_code(shell: Shell) -> None:
    done = shell("serve", "--listen", "127.0.0.1:0", "--kafka", "fetch.wait.max.mss=5")
    assert done.returncode == ExitCode.USAGE
    assert b"did you mean fetch.wait.max.ms?" in done.stderr


def answers(served: Served) -> bool:
    try:
        return served.client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def refused(shell: Shell, *flags: str, **more: str) -> str:
    done = shell("serve", *flags, more=more)
    assert done.returncode == ExitCode.USAGE, done.stderr
    return done.stderr.decode()


def test_what_would_be_open_to_everybody_is_refused(shell: Shell) -> None:
    told = refused(shell, "--listen", "0.0.0.0:0")
    assert "could read what every user does" in told
    assert "WORKER_READ_TOKEN" in told
    assert "--without-token" in told
    assert "at least 16" in refused(shell, WORKER_READ_TOKEN="short")
    assert "expected host:port" in refused(shell, "--listen", "8080")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = refused(shell, "--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    assert re.search(r"cannot listen on 127\.0\.0\.1:\d+: Address already in use", told)
