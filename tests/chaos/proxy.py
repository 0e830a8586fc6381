"""A TCP proxy that cuts, delays and swallows: what a network does to the connections of members."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from enum import Enum
from typing import Self

from tests.brokers import free_port

CHUNK_BYTES = 65_536


class Weather(Enum):
    """What happens to bytes."""

    FAIR = "fair"
    SLOW = "slow"  # every chunk arrives later
    CUT = "cut"  # connections are reset, new ones too
    SWALLOWED = "swallowed"  # connections stay open and nothing arrives; at its end they are reset


class Proxy:
    """Forwards one port to another on this machine. Its loop runs in a thread of its own."""

    def __init__(self, target_port: int) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._target_port = target_port
        self._weather = Weather.FAIR
        self._delay_s = 0.0
        self._connections: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=f"proxy {self.port}", daemon=True)
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def change(self, weather: Weather, delay_s: float = 0.0) -> None:
        """From now on; connections that exist are reset where bytes were lost or are refused."""

        def change() -> None:
            lost = {Weather.CUT, Weather.SWALLOWED}
            if weather is Weather.CUT or (self._weather in lost and weather not in lost):
                self._reset_all()
            self._weather, self._delay_s = weather, delay_s

        self._loop.call_soon_threadsafe(change)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._reset_all()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    def _reset_all(self) -> None:
        for writer in self._connections:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            if self._weather is Weather.CUT:
                return
            there = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._connections.add(there[1])
            try:
                await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))
            finally:
                self._connections.discard(there[1])
                there[1].transport.abort()
        except OSError:
            pass  # the broker is gone, or either end hung up
        finally:
            self._connections.discard(writer)
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK_BYTES):
                if self._weather is Weather.SWALLOWED:
                    continue
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(self._delay_s)
                sink.write(data)
                await sink.drain()
        sink.transport.abort()
