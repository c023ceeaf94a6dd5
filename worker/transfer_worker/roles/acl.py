"""Permissions as Redis takes them: for one user who does everything, and for each role alone.

A role may run the commands of its work and no other, and read or write the keys of its work. Which of the
two a command does to its key is what Redis says (COMMAND INFO of 7.0.15: ``access`` is a read; ``insert``,
``update`` and ``delete`` are writes). Redis 7 and newer and Valkey keep them apart, Redis 6.2 does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from transfer_worker.queue.transport import EVENT_EXCHANGE
from transfer_worker.roles.celery_work import MAILBOX
from transfer_worker.roles.work import SAYS_OR_HEARS, Place, Role, list_channels, list_commands, list_uses

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from transfer_worker.roles.work import Command


READS: Final = frozenset(
    {"get", "mget", "pttl", "ttl", "smembers", "lindex", "lpos", "lrange"}
    | {"hget", "hgetall", "hkeys", "hmget", "hscan"}
    | {"zcount", "zrange", "zrangebyscore", "zrevrangebyscore", "zscore"}
    | {"xinfo|consumers", "xinfo|groups", "xpending", "xrange", "xread", "xreadgroup", "xrevrange"}
)
WRITES: Final = frozenset(
    {"set", "setrange", "del", "expire", "pexpire", "sadd", "srem", "lpush", "lrem", "ltrim", "rpush"}
    | {"hdel", "hset", "zadd", "zrem", "zremrangebyscore"}
    | {"xack", "xadd", "xautoclaim", "xgroup|create", "xgroup|delconsumer", "xdel", "xtrim"}
)
READS_AND_WRITES: Final = frozenset({"brpop", "hincrby", "rename", "rpop"})
ASKS_WHETHER: Final = frozenset({"exists", "hexists", "hlen", "llen", "type", "xlen", "zcard"})
"""What needs one of the two permissions, whichever."""

_CONTAINERS: Final = frozenset({"acl", "script", "xgroup", "xinfo"})
_FROM_NOTHING: Final = "resetchannels resetkeys -@all"


def name_command(command: Iterable[str]) -> str:
    """Return a command's name as rules have it, with its subcommand where there is one."""
    name, *words = command
    name = name.lower()
    return f"{name}|{words[0].lower()}" if name in _CONTAINERS else name


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a role may do.

    Attributes:
        commands: Their names.
        keys: By name or pattern: whether it may be read, and whether written.
        channels: Names or patterns.
    """

    commands: frozenset[str]
    keys: Mapping[str, tuple[bool, bool]]
    channels: tuple[str, ...]

    @classmethod
    def of(cls, role: Role, at: Place) -> Permissions:
        """Return what a role's work takes."""
        keys = {
            key: judge_access(name_command(template.split()) for template in templates)
            for key, templates in list_uses(role, at).items()
        }
        names = frozenset(map(name_command, list_commands(role, at)))
        return cls(names, keys, tuple(list_channels(role, replace(at, is_pattern=True))))

    def cover(self, command: Command, key: str | None) -> bool:
        """Say whether a command, on a key where it has one, is within these permissions."""
        name = name_command(command)
        if name not in self.commands:
            return False
        if command[0] in SAYS_OR_HEARS:
            return any(fnmatchcase(command[1], channel) for channel in self.channels)
        if key is None:
            return True
        (reads, writes), held = judge_access([name]), self.keys.get(key)
        return held is not None and held[0] >= reads and held[1] >= writes

    def describe(self) -> str:
        """Return the rules, as ACL SETUSER takes them."""
        kinds = {(True, True): "~", (True, False): "%R~", (False, True): "%W~", (False, False): "%R~"}
        keys = sorted(f"{kinds[access]}{key}" for key, access in self.keys.items())
        channels = sorted(f"&{channel}" for channel in self.channels)
        return " ".join([_FROM_NOTHING, *keys, *channels, *sorted(f"+{name}" for name in self.commands)])


def judge_access(names: Iterable[str]) -> tuple[bool, bool]:
    """Say whether any of these commands reads its key, and whether any writes it."""
    found = set(names)
    return bool(found & (READS | READS_AND_WRITES)), bool(found & (WRITES | READS_AND_WRITES))


def describe_role(role: Role, at: Place) -> str:
    """Return the rules of one role, as ACL SETUSER takes them; Redis 7 and newer, and Valkey."""
    return Permissions.of(role, replace(at, is_pattern=True)).describe()


def describe_user(at: Place) -> str:
    """Return the rules of one user who does everything, as ACL SETUSER takes them; also Redis 6.2."""
    keys = f"~transfer:* ~{at.queue}* ~_kombu.binding* ~*.{MAILBOX}*"
    channels = f"resetchannels &transfer:* &/{at.database}.{MAILBOX} &/{at.database}.{EVENT_EXCHANGE}/*"
    return f"{keys} {channels} +@all -@dangerous +info +acl|whoami"


def fill_users_file(at: Place, passwords: Mapping[Role, str] | None = None) -> str:
    """Return the text of an ACL file with a user for each role, and nobody else but the health check.

    Args:
        at: The queue and the database.
        passwords: By role; the file holds their SHA-256 alone. Without them, each user is off.
    """
    lines = ["user default off", "user health on nopass resetchannels resetkeys -@all +ping"]
    for role in Role:
        login = f"on #{sha256(passwords[role].encode()).hexdigest()}" if passwords else "off"
        lines.append(f"user {role} {login} {describe_role(role, at)}")
    return "\n".join(lines) + "\n"
