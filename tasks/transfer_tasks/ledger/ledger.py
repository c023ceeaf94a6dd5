"""The ledger for threaded processes: each step is one call that returns or raises `LedgerUnavailable`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

import redis

from transfer_tasks.errors import LedgerUnavailable
from transfer_tasks.ledger.commands import LedgerCommands
from transfer_tasks.ledger.keys import NAMESPACE, Keys
from transfer_tasks.ledger.record import TransferRecord, is_of_another_type
from transfer_tasks.redis.diagnosis import diagnose
from transfer_tasks.redis.replication import run_scripts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from transfer_tasks.ledger.script import Command

T = TypeVar("T")


class Ledger:
    """Runs ledger commands over a blocking client. Safe to share among threads.

    Args:
        client: Made by `transfer_tasks.redis.connection.connect`.
        namespace: What every key begins with.
        retention_seconds: How long a record lives after its last change.
    """

    def __init__(self, client: redis.Redis, *, retention_seconds: int, namespace: str = NAMESPACE) -> None:
        self.client = client
        self.keys = Keys(namespace)
        self.commands = LedgerCommands(namespace=namespace, retention_seconds=retention_seconds)

    def run(self, command: Command[T]) -> T:
        """Run one step.

        Raises:
            LedgerUnavailable: Redis did not answer in time or refused. The step may have happened; every
                step is safe to repeat.
        """
        try:
            return command.read(self._evaluate(command))
        except redis.RedisError as error:
            raise LedgerUnavailable(f"{command.script.name}: {diagnose(error)}") from error

    def run_all(self, commands: Sequence[Command[T]]) -> list[T]:
        """Run steps that have nothing to do with each other, in one round trip.

        Raises:
            LedgerUnavailable: As for `run`; each of them may have happened.
        """
        return list(self.run_each(commands)) if commands else []

    def run_each(self, commands: Sequence[Command[Any]]) -> Iterator[Any]:
        """Run steps in one round trip; say what came of each, one by one: the last may fail alone.

        Raises:
            LedgerUnavailable: As for `run`; each of them may have happened.
        """
        asked = [("EVALSHA", command.script.sha, 0, *command.arguments) for command in commands]
        try:
            replies = run_scripts(self.client, asked)
        except redis.RedisError as error:
            raise LedgerUnavailable(f"{commands[0].script.name}: {diagnose(error)}") from error
        for command, reply in zip(commands, replies, strict=True):
            yield self.run(command) if isinstance(reply, redis.RedisError) else command.read(reply)

    def _evaluate(self, command: Command[Any]) -> Any:
        script = command.script
        try:
            return self.client.execute_command("EVALSHA", script.sha, 0, *command.arguments)  # type: ignore[no-untyped-call]
        except redis.exceptions.NoScriptError:
            return self.client.eval(script.source, 0, *command.arguments)

    def read(self, transfer_id: str) -> TransferRecord | None:
        """Return one transfer, or None if there is no such record.

        Raises:
            LedgerUnavailable: Redis did not answer in time.
        """
        try:
            fields = cast("dict[str, str]", self.client.hgetall(self.keys.record(transfer_id)))
        except redis.ResponseError as error:
            if is_of_another_type(error):
                return TransferRecord.from_hash(transfer_id, {})
            raise LedgerUnavailable(f"read: {diagnose(error)}") from error
        except redis.RedisError as error:
            raise LedgerUnavailable(f"read: {diagnose(error)}") from error
        return TransferRecord.from_hash(transfer_id, fields) if fields else None

    def read_call(self, call_id: str) -> list[TransferRecord]:
        """Return every transfer of a call that is still on record, in their sequence.

        Raises:
            LedgerUnavailable: Redis did not answer in time.
        """
        try:
            ids = cast("list[str]", self.client.lrange(self.keys.call(call_id), 0, -1))
        except redis.RedisError as error:
            raise LedgerUnavailable(f"read_call: {diagnose(error)}") from error
        return [record for transfer_id in ids if (record := self.read(transfer_id))]
