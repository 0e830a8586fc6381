"""A crowd of listeners to event streams, on one loop: what each was told, and when."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import dataclass, field

import orjson

READ_TIMEOUT_S = 60.0
SPARE_FILES = 100


@dataclass(slots=True)
class Listener:
    """One stream. `versions` maps the versions of the user's record to when they were told (monotonic seconds)."""

    user_id: str
    versions: dict[int, float] = field(default_factory=dict)
    events: int = 0


class Listeners:
    """Opens the streams, and listens until each was told a version."""

    def __init__(self, host: str, port: int, user_ids: list[str]) -> None:
        self.crowd = [Listener(user_id) for user_id in user_ids]
        self._address = host, port
        self._opened = 0
        self.all_open = asyncio.Event()

    async def until(self, version: int) -> None:
        """Returns when everybody was told this version.

        Raises:
            TimeoutError, ConnectionError: somebody was not.
        """
        await asyncio.gather(*(self._listen(one, version) for one in self.crowd))

    async def _listen(self, listener: Listener, last: int) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(f"GET /stream?user_id={listener.user_id} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        try:
            while last not in listener.versions:
                line = await asyncio.wait_for(reader.readline(), READ_TIMEOUT_S)
                if not line:
                    raise ConnectionError(f"a stream ended after {listener.events} events")
                if line.startswith(b"data: "):
                    self._told(listener, line.removeprefix(b"data: "))
        finally:
            writer.close()

    def _told(self, listener: Listener, data: bytes) -> None:
        at = time.monotonic()
        listener.events += 1
        if listener.events == 1:
            self._opened += 1
            if self._opened == len(self.crowd):
                self.all_open.set()
        answer = orjson.loads(data)
        if answer is not None:
            listener.versions[answer["version"]] = at


def allow_files(count: int) -> None:
    """A stream is an open file: raise the limit as far as that is allowed, for children too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + SPARE_FILES), hard))
