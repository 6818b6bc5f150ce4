"""A network that can be cut: TCP proxies on loopback, one for each client of each server."""

import asyncio
import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import Self

CHUNK_BYTES = 1 << 16


@dataclass
class Proxy:
    """Forwards `port` to `target`. While it is cut, nothing passes and nobody is told.

    As after lost packets, what was under way passes when the cut ends, unless an end has
    given up meanwhile.
    """

    target: int
    port: int = 0
    connections: int = 0
    _passing: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        """One client's connection, from its beginning to its end."""
        with contextlib.suppress(OSError), contextlib.closing(answer):
            await self._passing.wait()
            server, request = await asyncio.open_connection("127.0.0.1", self.target)
            self.connections += 1
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(client, request))
                    group.create_task(self._pump(server, answer))
            except* OSError:
                pass
            finally:
                self.connections -= 1
                request.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK_BYTES):
            await self._passing.wait()
            sink.write(data)
            await sink.drain()
        await self._passing.wait()
        raise ConnectionResetError  # ends the other direction, too

    def allow(self, *, passing: bool) -> None:
        """Cuts or mends; in the loop's thread."""
        (self._passing.set if passing else self._passing.clear)()


class Network:
    """The proxies, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._servers: list[asyncio.Server] = []
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)

    def proxy(self, target: int) -> Proxy:
        """A new proxy before the server on port `target`."""

        async def listen() -> Proxy:
            proxy = Proxy(target)
            proxy.allow(passing=True)
            listening = socket.create_server(("127.0.0.1", 0))
            proxy.port = listening.getsockname()[1]
            self._servers.append(await asyncio.start_server(proxy.serve, sock=listening))
            return proxy

        return asyncio.run_coroutine_threadsafe(listen(), self._loop).result(10)

    def cut(self, *proxies: Proxy) -> None:
        """Lets nothing pass."""
        self._allow(proxies, passing=False)

    def mend(self, *proxies: Proxy) -> None:
        """Lets everything pass again."""
        self._allow(proxies, passing=True)

    def _allow(self, proxies: tuple[Proxy, ...], *, passing: bool) -> None:
        async def allow() -> None:
            for proxy in proxies:
                proxy.allow(passing=passing)

        asyncio.run_coroutine_threadsafe(allow(), self._loop).result(10)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            for server in self._servers:
                server.close()
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
