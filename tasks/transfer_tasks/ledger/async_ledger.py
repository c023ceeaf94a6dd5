"""The ledger for an event loop: each step within a time budget that holds whatever Redis does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from hiredis import pack_command
from redis.exceptions import NoScriptError, RedisError, ResponseError

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.commands import LedgerCommands
from transfer_tasks.ledger.keys import NAMESPACE, Keys
from transfer_tasks.ledger.script import Command
from transfer_tasks.redis.async_connection import NotWritten
from transfer_tasks.redis.clock import RedisClock
from transfer_tasks.redis.diagnosis import diagnose, refuses_the_call
from transfer_tasks.redis.replication import confirm, replication_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import redis.asyncio

T = TypeVar("T")

Step: TypeAlias = "Command[T] | Callable[[], Command[T]]"
"""A step; or what makes it for each try, once there is a connection and Redis's clock is known."""

PAUSE_SECONDS = 0.05
"""Between two tries within one budget: a Redis that restarts in a moment is not an error worth telling."""


class AsyncLedger:
    """Runs ledger commands over an asyncio connection pool.

    Args:
        client: Made by `transfer_tasks.redis.connection.connect_async`.
        namespace: What every key begins with.
        retention_seconds: How long a record lives after its last change.

    Attributes:
        clock: Redis's, read on each new connection.
    """

    def __init__(
        self, client: redis.asyncio.Redis, *, retention_seconds: int, namespace: str = NAMESPACE
    ) -> None:
        self.client = client
        self._replication = replication_of(client)
        self._connections: list[Any] = []
        self._idle: list[Any] = []
        self._is_one_node = False
        self.keys = Keys(namespace)
        self.commands = LedgerCommands(namespace=namespace, retention_seconds=retention_seconds)
        self.clock = RedisClock()

    async def run(self, step: Step[T], *, budget_seconds: float) -> T:
        """Run one step; repeat it within the budget while Redis is away. Every step is safe to repeat.

        Args:
            step: What to run.
            budget_seconds: The longest that it may take, whatever Redis does.

        Raises:
            LedgerUnavailable: No answer came within the budget, or Redis refused. `may_have_happened` says
                whether the step was ever sent without an answer.
        """
        trial = _Trial()
        try:
            async with asyncio.timeout(budget_seconds) as limit:
                command, reply = await self._persist(step, trial, limit)
                return command.read(reply)
        except TimeoutError as error:
            cause = trial.cause or f"no answer within {budget_seconds:g} s"
            raise LedgerUnavailable(cause, may_have_happened=trial.is_unanswered) from error

    async def _persist(self, step: Step[T], trial: _Trial, limit: asyncio.Timeout) -> tuple[Command[T], Any]:
        while not limit.expired():
            try:
                return await self._try_once(step, trial, limit)
            except ResponseError as error:
                raise LedgerUnavailable(
                    str(diagnose(error)), may_have_happened=trial.is_unanswered
                ) from error
            except (RedisError, OSError) as error:
                trial.cause = str(diagnose(error))
            trial.lost_answers += trial.is_sent
            trial.is_sent = False
            await asyncio.sleep(PAUSE_SECONDS)
        raise TimeoutError

    async def _try_once(self, step: Step[T], trial: _Trial, limit: asyncio.Timeout) -> tuple[Command[T], Any]:
        pool = self.client.connection_pool
        # The connection is taken by hand, because only so it is known whether the step was sent; and not from
        # the pool, which keeps its books with a lock and five coroutines (redis-py 8.1).
        if not self._idle:
            connection = pool.make_connection()  # type: ignore[no-untyped-call]
            connection.register_connect_callback(self._read_clock)
            self._connections.append(connection)
            self._idle.append(connection)
        connection = self._idle.pop()
        try:
            await pool.ensure_connection(connection)
            if limit.expired():
                # The one cancellation was lost on the way here; nothing else would end our reading.
                raise TimeoutError
            if not self._is_one_node:
                await self._refuse_cluster_mode(connection)
            command = step if isinstance(step, Command) else step()
            trial.is_sent = True
            try:
                reply = await _evaluate(connection, command)
            except (RedisError, OSError) as error:
                trial.is_sent = not (isinstance(error, NotWritten) or refuses_the_call(error))
                raise
            if self._replication is not None:
                await confirm(self._replication, connection)
        finally:
            self._idle.append(connection)
        return command, reply

    async def _read_clock(self, connection: Any) -> None:
        self.clock.begin_anew()
        asked_at = self.clock.monotonic()
        await connection.send_command("TIME", check_health=False)
        told = await connection.read_response()
        try:
            self.clock.note_time(told, asked_at=asked_at)
        except (ValueError, TypeError, LookupError) as error:
            raise ConnectionError("what answers there is no Redis: it was asked for the time") from error

    async def _refuse_cluster_mode(self, connection: Any) -> None:
        """Name keys of two slots: an error in cluster mode, where a step would be taken and none carried out.

        Once for each ledger; everybody who may run a step may ask this.
        """
        await connection.send_command("EXISTS", self.keys.open_ids, self.keys.unknown)
        await connection.read_response()
        self._is_one_node = True

    async def close(self) -> None:
        """Close every connection."""
        for connection in self._connections:
            await connection.disconnect()
        await self.client.aclose()
        await self.client.connection_pool.disconnect()


async def _evaluate(connection: Any, command: Command[Any]) -> Any:
    """Run a step's script over a connection; return Redis's reply."""
    script = command.script
    try:
        # redis-py 8.1 packs in Python here: 28 µs for an intent instead of 4.
        packed = pack_command(("EVALSHA", script.sha, 0, *command.arguments))  # type: ignore[arg-type]  # hiredis 3.5 types a tuple of one
        await connection.send_packed_command(packed)
        return await connection.read_response()
    except NoScriptError:
        await connection.send_command("EVAL", script.source, 0, *command.arguments)
        return await connection.read_response()


class _Trial:
    """What is known of a step that has no answer yet."""

    def __init__(self) -> None:
        self.is_sent = False
        self.lost_answers = 0
        self.cause = ""

    @property
    def is_unanswered(self) -> bool:
        return self.is_sent or self.lost_answers > 0
