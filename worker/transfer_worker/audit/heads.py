"""Where the ledger says each chain of the audit files is: who cuts off a file's end is found by it."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, cast

import redis

from transfer_worker.audit.chain import MAC_BYTES, Head

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from transfer_tasks.ledger.keys import Keys
    from transfer_worker.audit.file import AuditFile

KEPT: Final = timedelta(days=400)
"""For how long the end of a chain can be told from one that was cut off."""
MAX_HEADS: Final = 10_000
"""Each start of a process that writes a line makes one, of about 250 bytes."""


class Log(Protocol):
    """Where it is told what is wrong."""

    def error(self, event: str, **fields: object) -> object:
        """Write one line."""


class KnownHead(NamedTuple):
    """Where a chain was when its lines were acknowledged.

    Attributes:
        host: The machine that wrote it.
        path: The file there.
    """

    head: Head
    host: str
    path: str


def describe_head(file: AuditFile) -> dict[str, Any] | None:
    """Return where a file's chain is, as it stands in Redis and in heartbeats; None before its first line."""
    head = file.head
    if not head.seq:
        return None
    where = {"host": platform.node(), "path": str(file.path.absolute())}
    return {"chain": head.chain, "seq": head.seq, "mac": head.mac.hex(), "at": head.at, **where}


def read_head(said: object) -> KnownHead | None:
    """Return what was written as `describe_head` has it; None for what can't be read."""
    try:
        known = cast("dict[str, Any]", said)
        mac, at = bytes.fromhex(known["mac"]), str(known["at"])
        datetime.fromisoformat(at)
        head = Head(str(known["chain"]), int(known["seq"]), mac, at)
        return KnownHead(head, str(known["host"]), str(known["path"])) if len(mac) == MAC_BYTES else None
    except (ValueError, TypeError, KeyError, OverflowError):
        return None


def read_heads(client: redis.Redis, keys: Keys) -> tuple[list[KnownHead], list[str]]:
    """Return every head that Redis keeps, the oldest first, and the chains whose head can't be read.

    Raises:
        redis.RedisError: Redis can't be used, or the key holds something else.
    """
    said = cast("dict[str, str]", client.hgetall(keys.audit_heads))
    heads, unreadable = [], []
    for chain, text in said.items():
        known = read_head(_load(text))
        if known and known.head.chain == chain:
            heads.append(known)
        else:
            unreadable.append(chain)
    return sorted(heads, key=lambda known: known.head.at), unreadable


def _load(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


class HeadKeeper:
    """Keeps the head of one file's chain in Redis. Where that is not possible, lines go on without.

    Args:
        client: The audit writer's.
        keys: The ledger's keys.
        file: The file.
        log: Where it is said, once, that heads can't be kept: Redis is full, or the key holds something else.
    """

    def __init__(self, client: redis.Redis, *, keys: Keys, file: AuditFile, log: Log) -> None:
        self._client, self._keys, self._file, self._log = client, keys, file, log
        self._has_dropped = self._is_refused = False

    def ask_to_keep(self, pipe: redis.client.Pipeline) -> None:
        """Put the head into a pipeline, if there is one."""
        if said := describe_head(self._file):
            pipe.hset(self._keys.audit_heads, said["chain"], json.dumps(said))
            pipe.expire(self._keys.audit_heads, KEPT)

    def note(self, replies: Sequence[object]) -> None:
        """Take Redis's replies to that."""
        refusal = next((reply for reply in replies if isinstance(reply, redis.RedisError)), None)
        if refusal and not self._is_refused:
            self._log.error("audit.heads_not_kept", key=self._keys.audit_heads, cause=str(refusal))
        self._is_refused = refusal is not None

    def drop_old(self) -> None:
        """Forget chains that ended so long ago that nobody asks for them; the first time only.

        Raises:
            redis.RedisError: Redis can't be used.
        """
        if self._has_dropped:
            return
        self._has_dropped = True
        try:
            heads, _ = read_heads(self._client, self._keys)
            now = datetime.fromtimestamp(self._client.time()[0], UTC)
            if old := _list_old(heads, since=(now - KEPT).isoformat()):
                self._client.hdel(self._keys.audit_heads, *old)
        except redis.ResponseError as error:
            self.note([error])


def _list_old(heads: list[KnownHead], *, since: str) -> Iterable[str]:
    kept = {known.head.chain for known in heads[-MAX_HEADS:] if known.head.at > since}
    return [known.head.chain for known in heads if known.head.chain not in kept]
