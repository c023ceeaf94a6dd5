"""The roles, and what each of them does to Redis: every command, on every key, on every channel.

This is the one list: the permissions of each role are made of it (`acl`), and `doctor` and a worker's start
try it (`trial`). `tests/integration/roles` holds real work against it.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from transfer_tasks.ledger.keys import Keys
from transfer_tasks.redis.replication import CHANNEL
from transfer_worker.queue.transport import EVENT_EXCHANGE
from transfer_worker.roles import celery_work, ledger_work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Command = tuple[str, ...]
Uses = dict[str, tuple[str, ...]]
"""A key, and what is done to it; `{}` stands for the key."""

_ANY: Final = "*"
_MADE_UP: Final = "preflight"
_EVALUATE: Final = (("EVAL", "return 1", "0"), ("EVALSHA", "0" * 40, "0"))
SAYS_OR_HEARS: Final = frozenset({"PUBLISH", "SUBSCRIBE", "PSUBSCRIBE"})
_SHARED_UNACKED: Final = "unacked"
_PRIORITY: Final = "\x06\x16"
"""What kombu 5.7.0 puts between a queue's name and a priority."""


class Role(StrEnum):
    """Who comes to Redis, by the name of the user."""

    PUBLISHER = "publisher"
    WORKER = "worker"
    VIEWER = "viewer"
    OPERATOR = "operator"
    FLOWER = "flower"
    AUDITOR = "auditor"
    RECEIVER = "receiver"


_OF_REQUESTS: Final = frozenset(
    {"accept", "cancel", "expire", "read_connection", "report_connection", "resolve"}
)

STEPS: Final[dict[Role, frozenset[str]]] = {
    Role.PUBLISHER: _OF_REQUESTS,
    Role.WORKER: _OF_REQUESTS
    | {
        "begin_attempt",
        "claim",
        "end_attempt",
        "end_poll",
        "forbid",
        "heartbeat",
        "note_command",
        "quarantine",
        "recover",
    }
    | {"refuse", "retire", "set_limits", "sight", "take_poll"},
    Role.VIEWER: frozenset({"audit_backlog", "read_counts"}),
    Role.OPERATOR: _OF_REQUESTS
    | {"acknowledge", "adopt", "audit_backlog", "drop_quarantined", "erase", "pause", "read_counts"}
    | {"resume", "reveal"},
    Role.FLOWER: frozenset(),
    Role.AUDITOR: frozenset({"audit_backlog", "read_counts"}),
    Role.RECEIVER: frozenset({"hear_webhook", "report_connection"}),
}
"""Which of the ledger's steps each of them takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where it is done: the names that keys and channels have there.

    Attributes:
        is_pattern: Whether a name that differs each time is written as a pattern; else it is made up.
    """

    queue: str = "transfers"
    database: int = 0
    is_pattern: bool = False
    keys: Keys = field(default_factory=Keys)

    @property
    def each(self) -> str:
        """What stands for every id."""
        return _ANY if self.is_pattern else _MADE_UP

    @property
    def number(self) -> int:
        """What stands for every slice of time."""
        return _Any() if self.is_pattern else 0

    def with_priorities(self, queue: str) -> list[str]:
        """Return a queue's list, and those that kombu makes beside it for messages with a priority."""
        if self.is_pattern:
            return [queue, f"{queue}??[1-9]"]
        return [queue, *(f"{queue}{_PRIORITY}{priority}" for priority in range(1, 10))]

    @property
    def event_kinds(self) -> list[str]:
        """The last word of the channels of events."""
        return [_ANY] if self.is_pattern else ["worker.heartbeat", "task.multi"]

    @property
    def shared_unacked(self) -> str:
        """Kombu 5.7.0's default name for what is fetched and not acknowledged; ours is `Keys.unacked`."""
        return _SHARED_UNACKED


class _Any(int):
    """A number that is written as a pattern."""

    def __str__(self) -> str:
        return _ANY

    def __format__(self, _: str) -> str:
        return _ANY


_PARTS: Final[dict[Role, tuple[Callable[[Place], Uses], ...]]] = {
    Role.PUBLISHER: (ledger_work.list_endings, ledger_work.list_acceptance, ledger_work.list_reports),
    Role.WORKER: (
        ledger_work.list_endings,
        ledger_work.list_acceptance,
        ledger_work.list_reports,
        ledger_work.list_work_of_worker,
        celery_work.list_consuming,
        celery_work.list_asking,
    ),
    Role.VIEWER: (ledger_work.list_looks,),
    Role.OPERATOR: (
        ledger_work.list_looks,
        ledger_work.list_endings,
        ledger_work.list_acceptance,
        ledger_work.list_reports,
        ledger_work.list_acts,
        celery_work.list_asking,
    ),
    Role.FLOWER: (celery_work.list_asking, celery_work.list_watching),
    Role.AUDITOR: (ledger_work.list_audit_looks,),
    Role.RECEIVER: (ledger_work.list_endings, ledger_work.list_reports, ledger_work.list_webhooks),
}


def list_uses(role: Role, at: Place) -> Uses:
    """Return every key of a role's work, and what is done to it."""
    uses: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for part in _PARTS[role]:
        for key, templates in part(at).items():
            uses[key] |= dict.fromkeys(templates)
    return {key: tuple(templates) for key, templates in uses.items()}


def list_commands(role: Role, at: Place) -> list[Command]:
    """Return everything that a role sends, and that its scripts do."""
    of_keys = (
        command for key, templates in list_uses(role, at).items() for command in fill_in(key, templates)
    )
    return [*_list_others(role, at), *of_keys]


def list_channels(role: Role, at: Place) -> list[str]:
    """Return the channels on which a role says or hears something."""
    return list(dict.fromkeys(words[1] for words in _list_others(role, at) if words[0] in SAYS_OR_HEARS))


def fill_in(key: str, templates: Iterable[str]) -> Iterator[Command]:
    """Return commands with their key."""
    for template in templates:
        yield tuple({"{}": key, '""': ""}.get(word, word) for word in template.split())


def _list_others(role: Role, at: Place) -> Iterable[Command]:
    """What has no key of its own."""
    yield from (("PING",), ("TIME",), ("SELECT", str(at.database)), ("ACL", "WHOAMI"))
    yield from (("MULTI",), ("EXEC",), ("DISCARD",))
    if STEPS[role]:
        yield from _EVALUATE
        # Behind Sentinels each step is followed by these.
        yield from (("PUBLISH", CHANNEL, ""), ("WAIT", "0", "1"))
    if "report_connection" in STEPS[role]:
        yield "PUBLISH", at.keys.reply(at.each), ""
    if "accept" in STEPS[role]:
        yield "SUBSCRIBE", at.keys.reply(at.each)
        yield "UNSUBSCRIBE", at.keys.reply(at.each)
    if role not in {Role.FLOWER, Role.AUDITOR}:
        # Two slots, wherever there are slots.
        yield "EXISTS", at.keys.open_ids, at.keys.unknown
    if role in {Role.WORKER, Role.VIEWER, Role.OPERATOR, Role.AUDITOR}:
        yield ("INFO",)
    if role in {Role.VIEWER, Role.OPERATOR}:
        yield "SCAN", "0"
    if role in {Role.WORKER, Role.OPERATOR, Role.FLOWER}:
        yield from celery_work.list_words(at)
        yield from (("SCRIPT", "LOAD", "return 1"), ("SCRIPT", "EXISTS", "0" * 40))
        yield from _EVALUATE
    if role is Role.WORKER:
        yield from celery_work.list_events(at)
    if role is Role.FLOWER:
        yield "PSUBSCRIBE", f"/{at.database}.{EVENT_EXCHANGE}/*"
        yield "PUNSUBSCRIBE", f"/{at.database}.{EVENT_EXCHANGE}/*"
