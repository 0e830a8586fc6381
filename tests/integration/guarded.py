"""A group on a broker that guards itself: whoever works there logs in, and has the rights that were granted alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from confluent_kafka.admin import (  # type: ignore[attr-defined] # the package re-exports them without saying so
    AclBinding,
    AclOperation,
    ResourceType,
)

from tests.acceptance.members import Member, environment
from tests.acceptance.topic_log import delete_topics
from tests.brokers import CHECKOUT
from tests.integration.running import Bench
from tests.integration.shell import wait_until
from tests.secure_broker import SecureKafka, acl
from worker.acls import Grant, Purpose, Resource, grants
from worker.settings import Settings

PASSWORD = "only-for-tests-password"


def binding(grant: Grant, principal: str) -> AclBinding:
    """The ACL as the client takes it."""
    kinds = {Resource.TOPIC: ResourceType.TOPIC, Resource.GROUP: ResourceType.GROUP}
    kind = kinds.get(grant.resource, ResourceType.TRANSACTIONAL_ID)
    return acl(principal, kind, grant.name, AclOperation[grant.right.name], prefixed=grant.prefixed)


class Guarded:
    """A group's topics, and principals of its own: each purpose has one, and all rights that `acls` names for it."""

    def __init__(self, broker: SecureKafka, unique: Callable[[str], str], log_dir: Path, **settings: object) -> None:
        self.broker = broker
        self.bench = Bench(broker.bootstrap_servers, unique, log_dir, partitions=2, **settings)
        self.settings = Settings.model_validate(self.bench.settings)
        self._known: set[Purpose] = set()

    def close(self) -> None:
        self.bench.group.close()
        self.bench.delete_topics()

    def login(self, purpose: Purpose) -> dict[str, str]:
        """How somebody logs in who has what this purpose needs."""
        if purpose not in self._known:
            self._known.add(purpose)
            self.broker.add_user(self.user(purpose), PASSWORD)
            self.broker.grant(*self.bindings(purpose))
        return self.broker.login(self.user(purpose), PASSWORD)

    def user(self, purpose: Purpose) -> str:
        return f"{self.settings.group_id}-{purpose.value}"

    def principal(self, purpose: Purpose) -> str:
        return f"User:{self.user(purpose)}"

    def bindings(self, purpose: Purpose, principal: str = "") -> list[AclBinding]:
        """Exactly what the worker prints."""
        whose = principal or self.principal(purpose)
        return [binding(grant, whose) for grant in grants(purpose, self.settings)]

    def certified_member(self, password: str = PASSWORD) -> dict[str, str]:
        """How a member logs in that has a certificate instead of a password, and a member's rights."""
        user = f"member-{uuid.uuid4().hex[:8]}"
        self.broker.grant(*self.bindings(Purpose.RUN, f"User:CN={user}"))
        return self.broker.certificate(user, password=password)

    def delete_topics(self, *names: str) -> None:
        """Returns when nobody sees them any more."""
        delete_topics(self.broker.bootstrap_servers, names)
        wait_until(lambda: not set(names) & set(self.broker.root.list_topics(timeout=10).topics), "they are gone")

    @contextlib.contextmanager
    def without(self, *rights: AclBinding) -> Iterator[None]:
        """As long as these are taken away."""
        self.broker.revoke(*rights)
        try:
            yield
        finally:
            self.broker.grant(*rights)

    def settings_of(self, purpose: Purpose) -> Settings:
        """Settings with which this purpose's user works."""
        given = {**self.bench.settings, "bootstrap_servers": self.broker.sasl, "kafka": self.login(purpose)}
        return Settings.model_validate(given)

    def variables(self, login: Mapping[str, str], bootstrap: str | None = None) -> dict[str, str]:
        """The same as environment."""
        properties = {f"kafka_{name.replace('.', '_')}": value for name, value in login.items()}
        return environment({**self.bench.settings, "bootstrap_servers": bootstrap or self.broker.sasl, **properties})

    def start(self, name: str, login: Mapping[str, str], **settings: object) -> Member:
        """A member that logs in this way."""
        properties = {f"kafka_{name.replace('.', '_')}": value for name, value in login.items()}
        given: dict[str, Any] = {"bootstrap_servers": self.broker.sasl, **properties, **settings}
        return self.bench.group.start(name, **given)

    def command(
        self, variables: Mapping[str, str], *arguments: str, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """`context-worker …` in a process of its own."""
        return subprocess.run(
            [sys.executable, "-m", "worker", *arguments],
            cwd=CHECKOUT,
            env=_clean() | dict(variables),
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def spawn(self, variables: Mapping[str, str], output: IO[bytes], *arguments: str) -> subprocess.Popen[bytes]:
        """The same, left to run."""
        return subprocess.Popen(
            [sys.executable, "-m", "worker", *arguments],
            cwd=CHECKOUT,
            env=_clean() | dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )

    def run_as(self, purpose: Purpose, *arguments: str, stdin: bytes = b"") -> bytes:
        """A command that succeeds; what it wrote."""
        done = self.command(self.variables(self.login(purpose)), *arguments, stdin=stdin)
        assert done.returncode == 0, f"{arguments} ended with {done.returncode}\n{done.stderr.decode()}"
        return done.stdout


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("WORKER_")}


MakeGuarded = Callable[..., Guarded]
