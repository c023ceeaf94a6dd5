"""What is known when a connection breaks, whatever redis-py, asyncio or the system call it."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.async_ledger import AsyncLedger
from transfer_tasks.ledger.script import Command, Script
from transfer_tasks.publisher.replies import ReplyListener
from transfer_tasks.redis.async_connection import CheckedConnection, NotWritten
from transfer_tasks.redis.connection import connect_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


TIME = b"*1\r\n$4\r\nTIME\r\n"


class FarEnd:
    """Tells the time; answers each other read with the next of `replies`; with none left, it only reads."""

    def __init__(self) -> None:
        self.replies: list[bytes] = []
        self.received: list[bytes] = []
        self.url = ""
        self.serving: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.add(asyncio.current_task())
        with suppress(ConnectionError):  # a lost connection is what most of this is about
            while received := await reader.read(65536):
                if received == TIME:
                    writer.write(b"*2\r\n$10\r\n1800000000\r\n$1\r\n0\r\n")
                    continue
                self.received.append(received)
                if self.replies:
                    writer.write(self.replies.pop(0))
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@asynccontextmanager
async def far_end() -> AsyncIterator[FarEnd]:
    end = FarEnd()
    async with await asyncio.start_server(end.serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        end.url = f"redis://{host}:{port}/0"
        yield end
        server.close()
        await asyncio.gather(*filter(None, end.serving))


@asynccontextmanager
async def ledger_at(url: str) -> AsyncIterator[AsyncLedger]:
    ledger = AsyncLedger(connect_async(url, timeout_seconds=1), namespace="transfer", retention_seconds=60)
    ledger._is_one_node = True  # has asked before whether Redis is in cluster mode
    try:
        yield ledger
    finally:
        await ledger.close()


async def lose(connection: Any) -> None:
    """Abort the transport, as a reset does, and let the loop tell its protocol."""
    connection._writer.transport.abort()
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def lose_before_writing(ledger: AsyncLedger, times: int) -> None:
    """Lose each connection between the look whether it is usable and the write."""
    pool: Any = ledger.client.connection_pool
    ensure = pool.ensure_connection
    left = iter(range(times))

    async def ensure_and_lose(connection: Any) -> None:
        await ensure(connection)
        if next(left, None) is not None:
            await lose(connection)

    pool.ensure_connection = ensure_and_lose


def step(*, parse: Callable[[Any], Any] = lambda reply: reply) -> Command[Any]:
    return Command(Script("step", "return 1"), (), parse)


class BrokenWriter:
    """A writer below which something breaks in a way of its own."""

    def __init__(self, writer: asyncio.StreamWriter, error: Exception) -> None:
        self._writer, self._error = writer, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def writelines(self, _: Any) -> None:
        raise self._error


def break_writing(ledger: AsyncLedger, error: Exception) -> None:
    pool: Any = ledger.client.connection_pool
    ensure = pool.ensure_connection

    async def ensure_and_break(connection: Any) -> None:
        await ensure(connection)
        if not isinstance(connection._writer, BrokenWriter):
            connection._writer = BrokenWriter(connection._writer, error)

    pool.ensure_connection = ensure_and_break


def break_first_write(client: Any, error: Exception) -> None:
    """Have the first connection of a client break below its first write."""
    pool = client.connection_pool
    make, left = pool.make_connection, iter([error])

    def make_and_break() -> Any:
        connection = make()
        connect = connection.connect_check_health

        async def connect_and_break(**options: Any) -> None:
            await connect(**options)
            if (first := next(left, None)) is not None:
                connection._writer = BrokenWriter(connection._writer, first)

        connection.connect_check_health = connect_and_break
        return connection

    pool.make_connection = make_and_break


OTHERS_ERRORS = [
    AttributeError("'NoneType' object has no attribute '_add_writer'"),
    TypeError("'NoneType' object is not iterable"),
    RuntimeError("unable to perform operation on <TCPTransport closed=True>; the handler is closed"),
    IndexError("tuple index out of range"),
    ConnectionResetError(),  # without arguments: redis-py 8.1 stumbles over it
    asyncio.IncompleteReadError(b"", 1),
]


async def test_a_write_to_a_closed_transport_is_known_not_to_be_sent():
    async with far_end() as end:
        client = connect_async(end.url, timeout_seconds=1)
        connection: Any = client.connection_pool.make_connection()
        await connection.connect()
        await lose(connection)

        with pytest.raises(NotWritten):
            await connection.send_packed_command(b"PING\r\n")

        assert not connection.is_connected
        assert end.received == []


async def test_a_step_whose_connection_is_lost_right_before_the_write_is_tried_again():
    async with far_end() as end, ledger_at(end.url) as ledger:
        end.replies = [b"$5\r\nfound\r\n"]
        lose_before_writing(ledger, times=1)

        assert await ledger.run(step(), budget_seconds=5) == "found"


async def test_a_step_that_never_gets_to_its_write_has_not_happened():
    async with far_end() as end, ledger_at(end.url) as ledger:
        lose_before_writing(ledger, times=10_000)

        with pytest.raises(LedgerUnavailable) as raised:
            await ledger.run(step(), budget_seconds=0.3)

        assert not raised.value.may_have_happened
        assert end.received == []


@pytest.mark.parametrize("error", OTHERS_ERRORS, ids=lambda error: type(error).__name__)
async def test_a_step_whose_write_breaks_may_have_happened_whatever_the_error(error):
    async with far_end() as end, ledger_at(end.url) as ledger:
        break_writing(ledger, error)

        with pytest.raises(LedgerUnavailable) as raised:
            await ledger.run(step(), budget_seconds=0.3)

        assert raised.value.may_have_happened
        assert "the connection broke" in raised.value.cause


async def test_a_reply_that_is_not_text_is_a_step_that_may_have_happened():
    async with far_end() as end, ledger_at(end.url) as ledger:
        end.replies = [b"$2\r\n\xff\xfe\r\n"]

        with pytest.raises(LedgerUnavailable) as raised:
            await ledger.run(step(parse=json.loads), budget_seconds=0.3)

        assert raised.value.may_have_happened


async def test_a_subscription_that_breaks_in_its_own_way_is_made_again():
    async with far_end() as end:
        subscribed = b"*3\r\n$9\r\nsubscribe\r\n$7\r\nreplies\r\n:1\r\n"
        client = connect_async(end.url, timeout_seconds=1)
        break_first_write(client, OTHERS_ERRORS[0])
        end.replies = [subscribed]
        listener = ReplyListener(client, channel="replies")

        async with listener.expect("an id"):
            assert await listener.ready(within_seconds=10)

        await listener.close()
        await client.aclose()


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://localhost:6379/0",
        "sentinel://one:26379,two:26379/0?master_name=m",
        "sentinels://one:26379,two:26379/0?master_name=m",
    ],
)
async def test_every_kind_of_address_makes_checked_connections(url):
    client = connect_async(url, timeout_seconds=1)

    assert isinstance(client.connection_pool.make_connection(), CheckedConnection)
