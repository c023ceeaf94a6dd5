"""Whether Redis can carry transfers: what it is, whether it forgets, and whether it permits all that we do.

A check that can't look says so; it never passes for one that has looked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import redis

from transfer_tasks.ledger.keys import Keys
from transfer_tasks.redis.diagnosis import Diagnosis, Trouble, diagnose
from transfer_worker.runtime.findings import Finding, Verdict
from transfer_worker.runtime.redis_commands import describe_rules, list_commands, try_commands

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from transfer_worker.runtime.redis_commands import Command

MIN_REDIS: Final = (6, 2)
LOOK_IT_UP: Final = " (CONFIG SET and redis.conf; of a managed service, its console)"

_CLUSTER: Final = diagnose(redis.exceptions.ClusterCrossSlotError())
_NOT_OURS: Final = frozenset({Trouble.NO_PERMISSION, Trouble.UNKNOWN_COMMAND})
_SHOWN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What Redis says of itself.

    Attributes:
        info: Empty where it does not say.
        hello: As `info`; what every client may ask.
        refusal: Why `info` is empty.
    """

    info: Mapping[str, Any]
    hello: Mapping[str, Any]
    refusal: str

    @property
    def version(self) -> str:
        return str(self.info.get("redis_version") or self.hello.get("version") or "")

    @property
    def mode(self) -> str:
        if str(self.info.get("cluster_enabled", 0)) == "1":
            return "cluster"
        return str(self.info.get("redis_mode") or self.hello.get("mode") or "")


def check_redis(
    client: redis.Redis, *, queue: str, is_said_never_to_evict: bool = False
) -> Iterator[Finding]:
    """Whether Redis answers, is one that will do, never evicts, and keeps its data."""
    try:
        facts = _read_facts(client)
        commands = list(list_commands(Keys(), queue=queue, database=_database_of(client)))
        # A Sentinel knows no transactions, and a wrong mode is told in words of its own.
        refused = {} if facts.mode in {"sentinel", "cluster"} else try_commands(client, commands)
    except redis.RedisError as error:
        yield _tell(diagnose(error))
        return
    troubles = {command: diagnose(error) for command, error in refused.items()}
    yield from _check_kind(facts, troubles.values())
    if facts.mode in {"sentinel", "cluster"}:
        return
    yield _check_permissions(troubles, rules=describe_rules(queue, _database_of(client)))
    yield _check_eviction(facts, client, is_said_never_to_evict=is_said_never_to_evict)
    yield _check_persistence(facts, client)


def read_config(client: redis.Redis, name: str) -> str:
    """Return one setting of Redis; empty where it does not say (managed services hide CONFIG)."""
    try:
        return str(client.config_get(name).get(name, ""))
    except redis.RedisError:
        return ""


def _database_of(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs.get("db") or 0)


def _read_facts(client: redis.Redis) -> _Facts:
    hello, _ = _ask(client, "HELLO")
    info, refusal = _ask(client, "INFO")
    return _Facts(info=info, hello=hello, refusal=refusal)


def _ask(client: redis.Redis, question: str) -> tuple[Mapping[str, Any], str]:
    """Return an answer, or nothing and why it is refused.

    Raises:
        redis.RedisError: Redis can't be used at all.
    """
    try:
        answer: Any = client.execute_command(question)  # type: ignore[no-untyped-call]
    except redis.ResponseError as error:
        found = diagnose(error)
        if found.trouble not in _NOT_OURS:
            raise
        return {}, f"{question} is refused: {found.seen}"
    if isinstance(answer, list):  # RESP2
        answer = dict(zip(answer[::2], answer[1::2], strict=False))
    return answer, ""


def _tell(found: Diagnosis) -> Finding:
    if not found.passes:
        return Finding.problem("redis", seen=found.seen, fix=found.fix)
    return Finding.warning(
        "redis",
        seen=found.seen,
        fix=f"{found.fix} A worker waits.",
        must_wait=True,
    )


def _check_kind(facts: _Facts, troubles: Iterable[Diagnosis]) -> Iterator[Finding]:
    """Whether it is a Redis, new enough, and takes writes."""
    if facts.mode == "sentinel":
        yield Finding.problem(
            "redis",
            seen="this is a Sentinel, which keeps no data",
            fix="Write sentinel://… with master_name in TRANSFER_REDIS_URL: docs/capacity.md.",
        )
        return
    if facts.mode == "cluster":
        yield _tell(_CLUSTER)
        return
    others = {found.trouble: found for found in troubles if found.trouble not in _NOT_OURS}
    for found in others.values():
        verdict = Verdict.WARNING if found.passes else Verdict.PROBLEM
        yield Finding(check="redis", verdict=verdict, seen=found.seen, fix=found.fix)
    if others:
        return
    number = re.match(r"(\d+)\.(\d+)", facts.version)
    if number and (int(number[1]), int(number[2])) < MIN_REDIS:
        yield Finding.problem(
            "redis",
            seen=f"version {facts.version}",
            fix="Use Redis 6.2 or newer, or Valkey: recovery of audit lines needs XAUTOCLAIM.",
        )
    elif number:
        yield Finding.ok("redis", seen=f"version {facts.version}")
    else:
        # XAUTOCLAIM, which came with 6.2, is among the commands that are tried.
        seen = f"it answers; its version is not told ({facts.refusal or 'INFO has no redis_version'})"
        yield Finding.not_checked("redis", seen=seen)


def _check_permissions(troubles: Mapping[Command, Diagnosis], *, rules: str) -> Finding:
    refused = {command: found for command, found in troubles.items() if found.trouble in _NOT_OURS}
    if not refused:
        return Finding.ok("permissions", seen="every command, on its keys")
    names = [" ".join(command[:2]) for command in list(refused)[:_SHOWN]]
    more = f" and {len(refused) - len(names)} more" if len(refused) > len(names) else ""
    first = next(iter(refused.values()))
    fix = first.fix
    if first.trouble is Trouble.NO_PERMISSION:
        fix = f"ACL SETUSER <user> {rules}"
    return Finding.problem(
        "permissions",
        seen=f"refused: {', '.join(names)}{more}: {first.seen}",
        fix=fix,
    )


def _check_eviction(facts: _Facts, client: redis.Redis, *, is_said_never_to_evict: bool) -> Finding:
    policy = str(facts.info.get("maxmemory_policy") or read_config(client, "maxmemory-policy"))
    if policy == "noeviction":
        return Finding.ok("eviction", seen="maxmemory-policy noeviction")
    if policy:
        return Finding.problem(
            "eviction",
            seen=f"maxmemory-policy {policy}",
            fix=f"Set maxmemory-policy noeviction{LOOK_IT_UP}: an evicted record is a doubled transfer.",
        )
    why = facts.refusal or "INFO has no maxmemory_policy, and CONFIG GET does not tell"
    if is_said_never_to_evict:
        return Finding.not_checked(
            "eviction",
            seen=f"maxmemory-policy is not told ({why}); TRANSFER_REDIS_NEVER_EVICTS vouches for noeviction",
        )
    return Finding.problem(
        "eviction",
        seen=f"maxmemory-policy is not told ({why})",
        fix="Permit INFO to this user: ACL SETUSER <user> +info. Of a service that hides it, make sure that "
        "it is noeviction, and set TRANSFER_REDIS_NEVER_EVICTS=true: an evicted record doubles a transfer.",
    )


def _check_persistence(facts: _Facts, client: redis.Redis) -> Finding:
    if "aof_enabled" not in facts.info:
        return Finding.not_checked(
            "persistence",
            seen=f"the append-only file is not told of ({facts.refusal or 'INFO has no aof_enabled'})",
            fix="Permit INFO to this user (ACL SETUSER <user> +info), or see that it is on: without it, a "
            "restart of Redis forgets what was accepted.",
        )
    if not int(facts.info["aof_enabled"]):
        return Finding.warning(
            "persistence",
            seen="append-only file off",
            fix=f"Set appendonly yes{LOOK_IT_UP}: without it, a restart of Redis forgets what was accepted.",
        )
    fsync = read_config(client, "appendfsync")
    if not fsync:
        return Finding.not_checked(
            "persistence",
            seen="append-only file on; when it gets to the disk is not told (CONFIG GET appendfsync)",
            fix="Permit it (ACL SETUSER <user> +config|get), or see that appendfsync is always.",
        )
    if fsync != "always":
        return Finding.warning(
            "persistence",
            seen=f"append-only file on, appendfsync {fsync}",
            fix=f"Set appendfsync always{LOOK_IT_UP}: else a crash of Redis may forget two seconds.",
        )
    return Finding.ok("persistence", seen="append-only file on")
