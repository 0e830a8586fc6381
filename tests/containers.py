"""A container engine, where there is one, and our image built with it. Everything that is started here is removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Self

from tests.brokers import CHECKOUT

BASE = os.environ.get("BASE_TEST_IMAGE", "")  # Python for our image; empty = the Dockerfile's own
DOCKERFILE_BASE = "python:3.11.14-slim-bookworm"
OUR_IMAGE = "user-context-worker:test"
HOW_TO_GET_ONE = "start Docker; BASE_TEST_IMAGE and KAFKA_TEST_IMAGE name images where none can be pulled"
HOW_TO_GET_COMPOSE = "install Docker's compose plugin, or Debian's package `docker-compose`"
ANSWER_S = 30.0
BUILD_S = 280.0
PATIENCE_S = 60.0


class NoEngineError(Exception):
    """No containers can be run here; the message says what is missing."""


class NoComposeError(Exception):
    """No compose file can be read here."""


def find_compose() -> list[str]:
    """`docker compose`, or the older `docker-compose`. Reading a file needs no engine."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = subprocess.run([*command, "version"], capture_output=True, check=False, timeout=ANSWER_S)
            if not asked.returncode:
                return command
    raise NoComposeError("neither `docker compose` nor `docker-compose` here")


class Engine:
    """The `docker` command, which finds the engine as it always does (DOCKER_HOST). Left, it removes what it ran.

    Raises:
        NoEngineError: there is no command, or no engine answers.
    """

    def __init__(self) -> None:
        if shutil.which("docker") is None:
            raise NoEngineError("no `docker` here")
        if subprocess.run(["docker", "info"], capture_output=True, check=False, timeout=ANSWER_S).returncode:
            raise NoEngineError("no container engine answers")
        self._started: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for container in self._started:
            self("rm", "--force", "--volumes", container)

    def __call__(self, *arguments: str, timeout_s: float = PATIENCE_S) -> str:
        """What a command prints; an AssertionError when it fails."""
        done = self.try_to(*arguments, timeout_s=timeout_s)
        assert done.returncode == 0, f"docker {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def try_to(self, *arguments: str, timeout_s: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """A command that may fail."""
        return subprocess.run(
            ["docker", *arguments], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=timeout_s
        )

    def build(self) -> str:
        """Our image, of the checkout as it is."""
        base = ("--build-arg", f"BASE={BASE}") if BASE else ()
        self("build", "--quiet", "--file", "deploy/Dockerfile", *base, "--tag", OUR_IMAGE, ".", timeout_s=BUILD_S)
        return OUR_IMAGE

    def start(self, *arguments: str) -> str:
        """The name of a container that runs in the background."""
        container = self("run", "--detach", *arguments)[:12]
        self._started.append(container)
        return container

    def look(self, name: str, template: str) -> str:
        """A fact about an image or a container, by a Go template."""
        return self("inspect", "--format", template, name)

    def log(self, container: str) -> str:
        """All that it has written."""
        done = self.try_to("logs", container)
        return done.stdout + done.stderr


def wait_until(holds: Callable[[], bool], what: Callable[[], str], timeout_s: float = PATIENCE_S) -> None:
    """`what` is asked when it took too long."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, what()
        time.sleep(0.2)
