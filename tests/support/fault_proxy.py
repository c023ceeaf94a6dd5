"""A TCP proxy that fails on demand: what lies between a client and Redis, or anything else, in bad hours.

::

    client ──▶ to_server ──▶ server        Each direction of all connections has a `Flow` of its own:
    client ◀── to_client ◀── server        it passes, holds or drops bytes, and can delay them.

Every method may be called from any thread, takes effect before it returns, and works on the connections that
are open as well as on later ones. What each fault stands for:

=============================  =====================================================================
`cut()`                        both ends get a reset (RST): a restarted process, a killed connection
`refuse()` / `accept()`        new connections are refused, open ones live on: a full or stopped server
`hold(…)`                      bytes wait and go on at `heal()`: a network that comes back
`drop(…)`                      bytes are lost for ever: `drop(TO_CLIENT)` loses answers, not questions
`delay(…)`                     each byte arrives so much later: a slow line
`cut_at_next_answer()`         one connection is reset the moment its answer comes: sent, answer lost
`abandon_servers()`            half-open: the server's end is gone, the client's stays open and silent
`abandon_clients()`            half-open: the client's end is gone, the server is not told
`answer_with(reply)`           the proxy answers everything itself, such as ``-LOADING …``
=============================  =====================================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

_CHUNK_BYTES = 65536
_CALL_SECONDS = 5.0


class Direction(Enum):
    """Which way bytes go."""

    TO_SERVER = "to_server"
    TO_CLIENT = "to_client"


TO_SERVER, TO_CLIENT = Direction.TO_SERVER, Direction.TO_CLIENT
BOTH = (TO_SERVER, TO_CLIENT)


class Passage(Enum):
    """What becomes of the bytes of one direction."""

    PASS = "pass"
    HOLD = "hold"
    DROP = "drop"


@dataclass(slots=True)
class Flow:
    """How the bytes of one direction travel, and how many have arrived."""

    passage: Passage = Passage.PASS
    delay_seconds: float = 0.0
    byte_count: int = 0


@dataclass(slots=True, eq=False)
class _Link:
    """One connection: a client's end and a server's end.

    Attributes:
        kept: After an abandonment the direction in which the end that is still open sends.
    """

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    kept: Direction | None = None

    def reset(self) -> None:
        _reset(self.client)
        if self.server is not None:
            _reset(self.server)

    def abandon(self, direction: Direction) -> None:
        """Reset the far end of a direction, and go on listening to the near one."""
        self.kept = direction
        far = self.server if direction is TO_SERVER else self.client
        if far is not None:
            _reset(far)

    def end(self) -> None:
        for task in self.tasks:
            task.cancel()


def _restore(flow: Flow) -> None:
    flow.passage, flow.delay_seconds = Passage.PASS, 0.0


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with a reset instead of a goodbye (SO_LINGER with 0 seconds)."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultProxy:
    """Listens on a port of 127.0.0.1 and forwards to `target`; a context manager.

    Args:
        target: Host and port of the server; `retarget` changes it for later connections.

    Attributes:
        connection_count: How many connections were accepted so far.
    """

    def __init__(self, target: tuple[str, int]) -> None:
        self.connection_count = 0
        self._target = target
        self._flows = {direction: Flow() for direction in Direction}
        self._links: set[_Link] = set()
        self._cut_answers = 0
        self._own_reply: bytes | None = None
        self._port = 0
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)
        self._changed = asyncio.Condition()

    @classmethod
    def before(cls, url: str) -> Self:
        """Return a proxy in front of the server that a URL names."""
        parts = urlsplit(url)
        return cls((parts.hostname or "127.0.0.1", parts.port or 6379))

    def url_for(self, url: str) -> str:
        """Return `url` with the proxy's address in place of the server's."""
        parts = urlsplit(url)
        login, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{login}{at}127.0.0.1:{self._port}"))

    @property
    def port(self) -> int:
        """The port that it listens on; it stays the same over `refuse` and `accept`."""
        return self._port

    @property
    def open_count(self) -> int:
        """How many connections are open now."""
        return self._call(lambda: len(self._links))

    def byte_count(self, direction: Direction) -> int:
        """Return how many bytes have been handed on in one direction."""
        return self._call(lambda: self._flows[direction].byte_count)

    # --- faults

    def heal(self) -> None:
        """End every fault. What was held goes on; what was dropped, cut or abandoned stays lost."""
        self._cut_answers, self._own_reply = 0, None
        self._set_flows(BOTH, _restore)
        self.accept()

    def hold(self, *directions: Direction) -> None:
        """Keep all bytes back until `heal`; without arguments in both directions."""
        self._set_flows(directions or BOTH, lambda flow: setattr(flow, "passage", Passage.HOLD))

    def drop(self, *directions: Direction) -> None:
        """Lose all bytes, the end of a connection included; without arguments in both directions."""
        self._set_flows(directions or BOTH, lambda flow: setattr(flow, "passage", Passage.DROP))

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Let every byte arrive `seconds` later; without directions in both: twice that for a round trip."""
        self._set_flows(directions or BOTH, lambda flow: setattr(flow, "delay_seconds", seconds))

    def cut(self) -> None:
        """Reset every open connection at both ends. New ones are accepted, unless they are refused."""
        self._for_each_link(_Link.reset)

    def cut_at_next_answer(self, count: int = 1) -> None:
        """Reset a connection instead of handing on the server's next bytes; `count` times."""
        self._call(lambda: setattr(self, "_cut_answers", count))

    def refuse(self) -> None:
        """Refuse new connections until `accept` or `heal`."""
        self._call(self._close_listener)

    def accept(self) -> None:
        """Accept connections again."""
        self._run(self._open_listener())

    def abandon_servers(self) -> None:
        """Reset the server's end of every open connection and tell the clients nothing."""
        self._for_each_link(lambda link: link.abandon(TO_SERVER))

    def abandon_clients(self) -> None:
        """Reset the client's end of every open connection and tell the server nothing."""
        self._for_each_link(lambda link: link.abandon(TO_CLIENT))

    def answer_with(self, reply: bytes) -> None:
        """Answer whatever comes on any connection with `reply`, and hand nothing on, until `heal`."""
        self._call(lambda: setattr(self, "_own_reply", reply))

    def retarget(self, target: tuple[str, int]) -> None:
        """Send later connections to another server."""
        self._call(lambda: setattr(self, "_target", target))

    # --- life

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._open_listener())
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()

    async def _open_listener(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, "127.0.0.1", self._port, backlog=512, reuse_address=True
            )
            self._port = self._server.sockets[0].getsockname()[1]

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _close(self) -> None:
        self._close_listener()
        while self._links:
            for link in self._links:
                link.end()
            await asyncio.sleep(0.001)

    def _run(self, coroutine: Coroutine[object, object, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_SECONDS)

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_CALL_SECONDS)

    def _for_each_link(self, act: Callable[[_Link], None]) -> None:
        def apply() -> None:
            for link in self._links:
                act(link)

        self._call(apply)

    def _set_flows(self, directions: tuple[Direction, ...], change: Callable[[Flow], None]) -> None:
        async def apply() -> None:
            for direction in directions:
                change(self._flows[direction])
            async with self._changed:
                self._changed.notify_all()

        self._run(apply())

    # --- one connection

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection_count += 1
        link = _Link(writer)
        self._links.add(link)
        try:
            try:
                server_reader, link.server = await asyncio.open_connection(*self._target)
            except OSError:
                link.reset()
                return
            for end in (link.client, link.server):
                with contextlib.suppress(OSError):  # cut meanwhile
                    end.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link.tasks = {
                asyncio.ensure_future(self._pump(link, reader, link.server, TO_SERVER)),
                asyncio.ensure_future(self._pump(link, server_reader, link.client, TO_CLIENT)),
            }
            await asyncio.gather(*link.tasks, return_exceptions=True)
        finally:
            self._links.discard(link)
            link.reset()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction
    ) -> None:
        """Read at once and hand on when due, so that a delay adds up neither over chunks nor over time."""
        flow = self._flows[direction]
        due: asyncio.Queue[tuple[float, bytes | None]] = asyncio.Queue(maxsize=256)
        carrier = asyncio.ensure_future(self._carry(link, due, writer, direction))
        try:
            while True:
                try:
                    data = await reader.read(_CHUNK_BYTES)
                except OSError:
                    data = b""
                if not data and link.kept is direction:
                    link.end()
                if data and direction is TO_SERVER and self._own_reply is not None:
                    link.client.write(self._own_reply)
                    continue
                await due.put((self._loop.time() + flow.delay_seconds, data or None))
                if not data:
                    await carrier
                    return
        finally:
            carrier.cancel()

    async def _carry(
        self,
        link: _Link,
        due: asyncio.Queue[tuple[float, bytes | None]],
        writer: asyncio.StreamWriter,
        direction: Direction,
    ) -> None:
        flow = self._flows[direction]
        while True:
            at, data = await due.get()
            await asyncio.sleep(at - self._loop.time())
            async with self._changed:
                await self._changed.wait_for(lambda: flow.passage is not Passage.HOLD)
            if flow.passage is Passage.DROP or link.kept is not None:
                if data is None:
                    await asyncio.Event().wait()  # its end is lost, too: the other side is never told
                continue
            if data is None:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            if direction is TO_CLIENT and self._cut_answers > 0:
                self._cut_answers -= 1
                link.reset()
                return
            with contextlib.suppress(OSError):
                writer.write(data)
                await writer.drain()
            flow.byte_count += len(data)
