"""What a client says of its connections at work: an outage is waited for, a credential that is refused is not."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from worker.connection_hints import without_secret
from worker.errors import WorkerError
from worker.kafka import Admin, KafkaError, KafkaException, Meaning, meaning_of, translate
from worker.settings import Settings

log = logging.getLogger(__name__)

SAY_AGAIN_S = 30.0
ASK_AFTER_S = 3.0  # a broker that has just come up may not know everybody yet
ATTEMPT_S = 2.5


class Connections:
    """An `error_cb`: says now and then that a broker does not answer: an outage is the client's to wait for, but not
    in silence. `ask` is called by `look` a moment after a refusal: it finds out whether that is still so.
    """

    def __init__(self, ask: Callable[[], None] | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._now = now
        self._said_at = float("-inf")
        self._ask_at: float | None = None

    def __call__(self, error: KafkaError) -> None:
        """An error of the client's connections: many a second while a broker is away. Runs inside its poll."""
        meaning = meaning_of(error)
        if meaning not in {Meaning.UNREACHABLE, Meaning.NOT_AUTHORIZED}:
            return
        now = self._now()
        if meaning is Meaning.NOT_AUTHORIZED and self._ask_at is None:
            self._ask_at = now + ASK_AFTER_S
        if now - self._said_at >= SAY_AGAIN_S:
            self._said_at = now
            log.warning("waiting for the broker: %s", without_secret(error.str()))

    def look(self) -> None:
        """To be called after each poll.

        Raises:
            WorkerError: what `ask` says.
        """
        if self._ask is not None and self._ask_at is not None and self._now() >= self._ask_at:
            self._ask_at = None
            self._ask()


def ask_anew(settings: Settings) -> None:
    """Whether somebody who comes now with these credentials is let in. No answer is no refusal.

    Raises:
        Fatal: NOT_AUTHORIZED.
    """
    admin = Admin(settings)
    try:
        admin.list_topics(timeout=ATTEMPT_S)
    except KafkaException as exc:
        why = admin.why()
        if why is not None and meaning_of(why) is Meaning.NOT_AUTHORIZED:
            raise _refused(why, settings) from exc


def _refused(why: KafkaError, settings: Settings) -> WorkerError:
    return translate(why, f"connecting anew to {settings.bootstrap_servers}")
